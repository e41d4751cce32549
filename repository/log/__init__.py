"""The commit log and the state that its entries add up to."""
