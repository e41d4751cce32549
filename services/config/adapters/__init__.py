"""The outside of the config service: its record in Postgres and the registry of locations."""
