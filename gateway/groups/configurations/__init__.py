"""Configurations: what is backed up, where to, by which rules."""
