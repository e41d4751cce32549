"""From a snapshot back to files."""
