"""The tier in a folder of a disk."""
