"""New facts, as every gateway hears of them: from the projector's commit to waiters and WebSockets.

Promise: listeners are told of facts in order, after the read models show them, whichever process projected them; a
lost announcement is made up for within a second. The latest facts are kept in memory, so that open sockets need not
read them from the store. In a new epoch the latest facts are told once more: whoever waits for one of them may have
been told of none of the old epoch's last.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.life.tasks import Supervised
from chassis.postgres.database import translated
from chassis.postgres.listening import listening
from chassis.telemetry.instruments import Telemetry
from gateway.monitoring import projection as facts
from gateway.projections import state
from gateway.projections.fact import Fact
from gateway.projections.projection import catalogue
from gateway.reading.made import Made, not_made

REMEMBERED = 2_000
READ_AT_ONCE = 500
POLL_SECONDS = 1.0
STALL_SECONDS = 10.0
FIRST_BUILD_SECONDS = 2.5
"""How long a request waits for the read models of a new database; more than enough where there is no history."""

Listener = Callable[[Sequence[Fact]], None]


class FactFeed:
    """Follows the log of facts while `loop` runs: a look at it is progress. `epoch` and `sequence`: how far it is."""

    def __init__(self, dsn: str, schema: str, made: Made, *, telemetry: Telemetry | None = None) -> None:
        """`made` is kept as each look finds it."""
        self._dsn = dsn
        self._schema = schema
        self._listeners: list[Listener] = []
        self._recent: list[Fact] = []
        self._recent_after = 0
        self._made = made
        self._answering = asyncio.Event()
        self.loop = Supervised("feed", self._run, telemetry=telemetry, stall_seconds=STALL_SECONDS)
        self.epoch = ""
        self.sequence = 0

    def listen(self, listener: Listener) -> None:
        """Call `listener` with new facts; with none at all when a new epoch has begun."""
        self._listeners.append(listener)

    def since(self, organisation: str, epoch: str, sequence: int) -> list[Fact] | None:
        """An organisation's facts after a number, from memory; None where they must be read from the store."""
        if epoch != self.epoch:
            return None
        following = 0
        if sequence != self._recent_after:
            place = bisect_left(self._recent, sequence, key=lambda fact: fact.sequence)
            if place == len(self._recent) or self._recent[place].sequence != sequence:
                return None
            following = place + 1
        return [fact for fact in self._recent[following:] if fact.organisation == organisation]

    async def until_answering(self) -> None:
        """Wait until there are read models at all. Raises UNAVAILABLE where that takes too long.

        One that is missing beside others is waited for by nobody: whoever reads it is told (`gateway.reading.made`).
        """
        if self._answering.is_set():
            return
        try:
            # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with what it waits for.
            async with asyncio.timeout(FIRST_BUILD_SECONDS):
                await self._answering.wait()
        except TimeoutError:
            raise not_made(frozenset(catalogue())) from None

    async def _run(self) -> None:
        with translated():
            await self._follow()

    async def _follow(self) -> None:
        async with await listening(self._dsn, self._schema) as database:
            await database.execute(SQL("LISTEN {}").format(Identifier(state.channel_of(self._schema))))
            # A crash takes the latest facts: they come again under other numbers, by now perhaps under higher ones
            # than those that were lost. It ends this connection, so that it is enough to look once on each.
            kept = await facts.last_kept(database, self.sequence)
            if kept != self.sequence:
                self._begin_behind(kept)
            try:
                while True:
                    await self._read(database)
                    # One announcement is enough to look; those that came at the same time need no look of their own.
                    async for _ in database.notifies(timeout=POLL_SECONDS, stop_after=1):
                        pass
            finally:
                # Until it is known which of them are kept, facts are read from the store.
                self._remember_from(self.sequence)

    async def _read(self, database: psycopg.AsyncConnection[Any]) -> None:
        stand = await state.read(database)
        if self._made.names != catalogue().keys():
            self._made.names = frozenset(name for name, made in (await state.made(database)).items() if made.version)
            if self._made.names:
                self._answering.set()
        if stand.epoch != self.epoch:
            self.epoch = stand.epoch
            self._begin_behind(max(0, stand.sequence - REMEMBERED))
        while self.sequence < stand.sequence:
            new = await facts.after(database, self.sequence, READ_AT_ONCE, epoch=self.epoch)
            if not new:
                break  # others answer since a moment ago: the next look sees it
            self.sequence = new[-1].sequence
            self._remember(new)
            self._tell(new)
        self.loop.progressed()

    def _begin_behind(self, sequence: int) -> None:
        self.sequence = sequence
        self._remember_from(sequence)
        self._tell([])

    def _remember_from(self, sequence: int) -> None:
        self._recent_after = sequence
        self._recent = []

    def _remember(self, new: list[Fact]) -> None:
        self._recent += new
        surplus = len(self._recent) - REMEMBERED
        if surplus > 0:
            self._recent_after = self._recent[surplus - 1].sequence
            del self._recent[:surplus]

    def _tell(self, new: list[Fact]) -> None:
        for listener in self._listeners:
            listener(new)
