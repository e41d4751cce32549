"""What a database commits between two dumps: taken from a slot, kept in a stream, played again by a restore."""
