"""Postgres: schema and role of a service, connections of our own, and what a failure of Postgres means here.

One schema and one role per service. The administrator's role installs, under an advisory lock, what the event
store needs and the service's own tables; the service's role has no DDL rights, sees its own schema alone, and
may only add to the events, never change or delete them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


def install_schema(
    admin_dsn: str, *, service: str, role: str, password: str | None, statements: Sequence[LiteralString] = ()
) -> None:
    """Make or bring up to date a service's schema (named as the service) and role. Idempotent, whole or not at all.

    `statements` are the service's own tables, with unqualified names, in the order of their history: each is
    executed once, ever; new ones are added at the end. Raises INVALID_SETTING where an executed one was changed.
    """
    raise NotImplementedError


def open_pool(dsn: str, schema: str, *, name: str, max_size: int = 4) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A pool, not opened yet, whose connections see the schema without naming it; autocommit."""
    raise NotImplementedError


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into PlatformErrors: lost or refused connections, deadlocks and timeouts → UNAVAILABLE."""
    raise NotImplementedError
