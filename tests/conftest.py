"""Fixtures that every test can ask for: one real server of each kind for the whole session, started when asked for."""

pytest_plugins = ("tests.support.postgres_server", "tests.support.nats_server", "tests.support.s3_server")
