"""The life of a process: its parts, its loops, its health."""
