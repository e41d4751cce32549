"""What the disaster recovery service has of the outside."""
