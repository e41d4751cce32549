"""Which read models there are: what was never made is not told to be nothing.

Promise: a query that names a table of a read model that was never made raises UNAVAILABLE, and no other query does. So
a request waits for what it reads, and for nothing that another one would read: a version that brings one new read
model, and builds it for hours, answers everything else meanwhile.
"""

import re
from functools import cache
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import Composable

from contracts import errors
from contracts.errors import PlatformError
from gateway.projections.projection import catalogue


class Made:
    """The projections that were made at least once, as they were seen last."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()

    def require(self, query: str) -> None:
        """Raise UNAVAILABLE where a query reads what was never made."""
        if missing := _read_by(query) - self.names:
            raise not_made(missing)

    def connection_class(self) -> type[AsyncConnection[Any]]:
        """Connections that ask this before each query."""
        require = self.require

        class Reading(AsyncConnection[Any]):
            async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
                require(_text(query))
                return await super().execute(query, *args, **options)

        return Reading


def not_made(names: frozenset[str]) -> PlatformError:
    """What is told to whoever asks for read models that were never made."""
    which = "the read models" if names >= catalogue().keys() else ", ".join(sorted(names))
    return PlatformError(
        errors.UNAVAILABLE,
        f"{which} are being made for the first time: what there is cannot be told yet",
        hint="Try again in a few seconds.",
    )


def _text(query: Any) -> str:
    if isinstance(query, bytes):
        return query.decode()
    return query.as_string(None) if isinstance(query, Composable) else str(query)


@cache
def _tables() -> dict[str, str]:
    return {table: name for name, cls in catalogue().items() for table in cls.TABLES}


@cache
def _read_by(query: str) -> frozenset[str]:
    """The projections whose tables a query names: there are as many queries as the code has."""
    return frozenset(_tables()[word] for word in re.findall(r"\w+", query) if word in _tables())
