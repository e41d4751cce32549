"""A whole cluster of Postgres: its base backups, and the log that it writes, by the server's own replication stream."""
