"""The recovery service: which points there are, and restores of them."""
