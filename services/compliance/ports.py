"""What the inside of the compliance service needs of the outside."""
