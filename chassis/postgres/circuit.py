"""Waiting for Postgres with an end: deadlines that begin with the request, and a database that is known to be away.

Promise: nobody waits for Postgres longer than `PATIENCE_SECONDS` from the arrival of what he asked for, however many
wait beside him; once a call has waited that long in vain, the next ones are told at once, and one of them each half
second looks again. Who waits in vain because others have every connection is told that, and it says nothing of the
database: nobody else is turned away for it. A short interruption (a server that is started anew) is waited out by those
who came meanwhile.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import psycopg
from psycopg import AsyncConnection, BaseConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from contracts.errors import UNAVAILABLE, PlatformError

PATIENCE_SECONDS = 3.0
"""For how long a call that has lost its connection, or gets none, is made again before it fails with UNAVAILABLE."""
LOOK_SECONDS = 0.5
LEAST_SECONDS = 0.5
"""What a call gets although its request has used up its time, for example by waiting for an answer."""
OVERTIME_SECONDS = 0.5
"""A call ends by itself when its time is over; one that does not, has a server that never answers."""
STALE_SECONDS = 60.0
WAITING_MAX = 512

_until: ContextVar[float | None] = ContextVar("until", default=None)


@contextmanager
def answering(seconds: float | None = None) -> Iterator[None]:
    """All that waits for Postgres inside the block shares one deadline, from now on."""
    token = _until.set(time.monotonic() + (PATIENCE_SECONDS if seconds is None else seconds))
    try:
        yield
    finally:
        _until.reset(token)


def _deadline() -> float | None:
    """The deadline of the request that is being answered, None outside of any.

    A task that a request has begun and that goes on without it inherits its deadline, which is nothing to it.
    """
    until = _until.get()
    return None if until is None or time.monotonic() - until > STALE_SECONDS else until


def patience() -> float:
    """How long a call may wait for Postgres that is made now, in seconds."""
    until = _deadline()
    return PATIENCE_SECONDS if until is None else min(PATIENCE_SECONDS, max(LEAST_SECONDS, until - time.monotonic()))


class Circuit:
    """What is known of one database by those who have tried. May be told from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._is_open = False
        self._next_look = 0.0

    def admit(self) -> None:
        """Let a call through, or raise UNAVAILABLE where it would only wait in vain."""
        if not self._is_open:
            return
        now = self._now()
        if now < self._next_look:
            raise PlatformError(UNAVAILABLE, "postgres is away", part="postgres", retry_after_seconds=1)
        self._next_look = now + LOOK_SECONDS

    def failed(self) -> None:
        """A call has waited for as long as it may, in vain."""
        self._next_look = self._now() + LOOK_SECONDS
        self._is_open = True

    def succeeded(self) -> None:
        """Postgres has answered."""
        self._is_open = False


def cut(connection: BaseConnection[Any]) -> None:
    """End whatever waits on a connection for a server that took a query and never answers: it loses the connection."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


class PatientPool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool whose waiters have a deadline each, are bounded in number, and do not wait in vain.

    A connection that is taken inside `answering` is cut when it was not given back in time. Others may be kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._circuit = Circuit()
        self._cuts: dict[int, asyncio.TimerHandle] = {}
        self._lent = 0
        super().__init__(*args, timeout=PATIENCE_SECONDS, max_waiting=WAITING_MAX, **kwargs)

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:  # noqa: ASYNC109  # as the base has it
        """Obtain a connection. Raises PlatformError UNAVAILABLE: at once while Postgres is known to be away, and where
        none came free in time because all are in use.

        A call with a time of its own is one that looks (a readiness check), and is always let through.
        """
        if timeout is None:
            self._circuit.admit()
        try:
            connection = await super().getconn(patience() if timeout is None else timeout)
        except (PoolTimeout, TooManyRequests) as error:
            if self._lent >= self.max_size:
                raise PlatformError(
                    UNAVAILABLE,
                    "every connection to postgres is in use",
                    hint="Try again in a few seconds, with fewer requests at once.",
                    part="postgres",
                    connections=self.max_size,
                ) from error
            self._circuit.failed()
            raise
        self._circuit.succeeded()
        self._lent += 1
        if _deadline() is not None:
            timer = asyncio.get_running_loop().call_later(2 * PATIENCE_SECONDS, cut, connection)
            self._cuts[id(connection)] = timer
        return connection

    async def putconn(self, conn: AsyncConnection[Any]) -> None:
        """Give a connection back."""
        if (timer := self._cuts.pop(id(conn), None)) is not None:
            timer.cancel()
        self._lent -= 1
        await super().putconn(conn)
