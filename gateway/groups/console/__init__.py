"""The console: a page and what it is made of, as they were built from `console/`."""
