"""The record of a service: what has happened, appended once and read in order."""
