"""How much of what all organisations share one of them may take at a time.

Promise: whoever asks much takes turns with his own organisation alone. Some places are kept for organisations that
hold none, and whoever holds fewest comes first, however long others have waited: several that ask for all there is
leave room for one more. Who does not get a place in time is told to come again: by a code that is his organisation's
where it holds places, and by the platform's where others hold them all.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from psycopg import AsyncConnection

from chassis.postgres.circuit import patience
from chassis.postgres.pool import Pool
from contracts import errors
from contracts.errors import PlatformError

RETRY_SECONDS = 1


class Limits(msgspec.Struct, frozen=True):
    """`each`: places of one organisation at once. `in_all`: of all. `kept`: of those, for who holds none."""

    each: int
    in_all: int
    kept: int


READINGS = Limits(each=3, in_all=6, kept=2)
"""Connections that organisations ask on, of the pool's eight: the others are for what no organisation asks for."""
WRITINGS = Limits(each=16, in_all=64, kept=16)
"""Writes on their way into the record, which takes them one after another."""


class Shares:
    """Places, taken in turns by organisations."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def of(self, organisation: str) -> AsyncIterator[None]:
        """A place for an organisation. Raises TOO_MANY_REQUESTS or UNAVAILABLE where none comes free in time."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((organisation, place))
        self._give()
        try:
            await asyncio.wait({place}, timeout=patience())
            if not place.done():
                raise self._refusal(organisation)
            yield
        finally:
            if place.done():
                self._held[organisation] -= 1
                self._held += Counter()  # Who holds none is forgotten.
            else:
                self._waiting.remove((organisation, place))
            self._give()

    def _give(self) -> None:
        """Give what is free to those that hold fewest, the longest waiting first."""
        while able := [waiting for waiting in self._waiting if self._may(waiting[0])]:
            organisation, place = chosen = min(able, key=lambda waiting: self._held[waiting[0]])
            self._waiting.remove(chosen)
            self._held[organisation] += 1
            place.set_result(None)

    def _may(self, organisation: str) -> bool:
        free, own = self._limits.in_all - self._held.total(), self._held[organisation]
        return free > 0 if own == 0 else own < self._limits.each and free > self._limits.kept

    def _refusal(self, organisation: str) -> PlatformError:
        if self._held[organisation]:
            return PlatformError(
                errors.TOO_MANY_REQUESTS,
                "the organisation's requests at this moment take longer than another one can wait",
                hint="Wait for as long as Retry-After says, then send fewer requests at once, or ask for less in each.",
                limit=self._limits.each,
                retry_after_seconds=RETRY_SECONDS,
            )
        return PlatformError(
            errors.UNAVAILABLE,
            "all places are taken by other organisations",
            hint="Try again in a few seconds.",
            part="gateway",
            retry_after_seconds=RETRY_SECONDS,
        )


class SharedConnections:
    """A pool's connections for whatever an organisation asks: all of it together has one share."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._shares = Shares(READINGS)

    @asynccontextmanager
    async def of(self, organisation: str) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection for an organisation. Raises as `Shares.of`, and where Postgres does not answer.

        Not to be asked for while one is held: whoever holds all of a share would wait for itself.
        """
        async with self._shares.of(organisation), self._pool.connection() as connection:
            yield connection
