"""A connection that waits for announcements and sleeps meanwhile.

psycopg looks ten times a second whether a wait is to be interrupted. Under asyncio whoever waits can be cancelled at
any moment anyway, so that these looks are for nothing, and every process of the platform has connections that only
listen.
"""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

from chassis.postgres.database import connection_arguments

_LOOK_SECONDS = 60.0
_Answer = TypeVar("_Answer")


class ListeningConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """psycopg's connection, for `notifies`."""

    async def wait(
        self,
        gen: PQGen[_Answer],
        interval: float = _LOOK_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109  # as psycopg has it
    ) -> _Answer:
        """As psycopg does, but for how often it looks."""
        return await super().wait(gen, interval, timeout)


async def listening(dsn: str, schema: str) -> ListeningConnection:
    """Connect, with a schema visible. Raises psycopg's errors, and INVALID_SETTING as `connection_arguments` does."""
    return await ListeningConnection.connect(dsn, **connection_arguments(dsn, schema))
