"""New facts, as every gateway hears of them: from the projector's commit to waiters and WebSockets.

Promise: listeners are told of facts in order, after the read models show them, whichever process projected them; a
lost announcement is made up for within a second. The latest facts are kept in memory, so that open sockets need not
read them from the store.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.logging import describe
from chassis.postgres import connection_arguments, translated
from contracts import errors
from contracts.errors import PlatformError
from gateway.projections import facts, state
from gateway.projections.facts import Fact

LOG = logging.getLogger(__name__)

REMEMBERED = 2_000
READ_AT_ONCE = 500
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
SILENT_SECONDS_MAX = 10.0

Listener = Callable[[Sequence[Fact]], None]


class FactFeed:
    """Follows the log of facts while `run` runs. `epoch` and `sequence` say how far it has heard."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._listeners: list[Listener] = []
        self._recent: list[Fact] = []
        self._recent_after = 0
        self._heard_at = time.monotonic()
        self.epoch = ""
        self.sequence = 0

    def listen(self, listener: Listener) -> None:
        """Call `listener` with new facts; with none at all when a rebuild has begun a new epoch."""
        self._listeners.append(listener)

    def since(self, organisation: str, epoch: str, sequence: int) -> list[Fact] | None:
        """An organisation's facts after a number, from memory; None where they must be read from the store."""
        if epoch != self.epoch or sequence < self._recent_after:
            return None
        return [fact for fact in self._recent[sequence - self._recent_after :] if fact.organisation == organisation]

    async def run(self) -> None:
        """Follow until cancelled; a lost connection is opened anew."""
        while True:
            try:
                with translated():
                    await self._follow()
            except (PlatformError, psycopg.Error, OSError) as error:
                LOG.warning("feed of facts interrupted", extra={"cause": describe(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def check(self) -> PlatformError | None:
        """UNAVAILABLE where nothing could be read for a while."""
        if time.monotonic() - self._heard_at > SILENT_SECONDS_MAX:
            return PlatformError(errors.UNAVAILABLE, "new facts cannot be read")
        return None

    async def _follow(self) -> None:
        arguments = connection_arguments(self._dsn, self._schema)
        async with await psycopg.AsyncConnection.connect(self._dsn, **arguments) as database:
            await database.execute(SQL("LISTEN {}").format(Identifier(state.channel_of(self._schema))))
            while True:
                await self._read(database)
                # One announcement is enough to look; those that came at the same time are answered by the same look.
                async for _ in database.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass

    async def _read(self, database: psycopg.AsyncConnection[Any]) -> None:
        stand = await state.read(database)
        if stand.epoch != self.epoch or stand.sequence < self.sequence:
            # A rebuild, or a crash of Postgres that took the latest facts: what follows is numbered anew.
            self.epoch, self.sequence = stand.epoch, stand.sequence
            self._recent, self._recent_after = [], stand.sequence
            self._tell([])
        while self.sequence < stand.sequence:
            new = await facts.after(database, self.sequence, READ_AT_ONCE)
            if not new:
                break  # emptied at this moment, by a rebuild
            self.sequence = new[-1].sequence
            self._remember(new)
            self._tell(new)
        self._heard_at = time.monotonic()

    def _remember(self, new: list[Fact]) -> None:
        self._recent += new
        surplus = len(self._recent) - REMEMBERED
        if surplus > 0:
            del self._recent[:surplus]
            self._recent_after += surplus

    def _tell(self, new: list[Fact]) -> None:
        for listener in self._listeners:
            listener(new)
