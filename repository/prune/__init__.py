"""Freeing the space of what was forgotten."""
