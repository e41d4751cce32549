"""Postgres as every service uses it: schema and role, connections, and waiting with an end."""
