"""Writes: taken down once, answered by their owner, told to whoever asked."""
