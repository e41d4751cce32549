"""The platform's own backup: its record, keys and lists, saved beside what it saves, and brought back by a kit."""
