"""What people put their names to: evidence of controls that nothing else decides."""
