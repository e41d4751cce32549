"""Retention policies: how long what was saved is kept."""
