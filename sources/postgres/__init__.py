"""Databases of Postgres as a source, by its own programs, and as what a snapshot of one is restored to."""
