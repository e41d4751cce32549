"""Continuous streams: bytes appended one after the other, for what a database writes between two snapshots."""
