"""Locations: the names that an organisation may use."""
