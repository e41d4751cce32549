"""Postgres's configuration as data: settings of the server, roles and schemas of the services."""
