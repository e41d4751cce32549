"""What the recovery service has of the outside."""
