"""The executor's outside: Postgres, NATS and the repository, each behind a port."""
