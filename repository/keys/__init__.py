"""Keys: what they are derived from, what wraps them, which are held."""
