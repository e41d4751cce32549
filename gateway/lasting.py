"""Loops that last: an unexpected error ends none of them, and none of them goes on as if nothing had been.

Promise: what a loop raises is logged and told by the readiness report until the loop has worked again for a while; it
begins again, at once where a server was away, and after ever longer pauses where nobody knows why it failed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import psycopg
from nats.errors import Error as NatsError

from chassis.health import Check
from chassis.logging import describe
from chassis.runtime import Background
from contracts import errors
from contracts.errors import PlatformError

LOG = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
RETRY_SECONDS_MAX = 30.0
_OUTAGE = (PlatformError, psycopg.OperationalError, psycopg.InterfaceError, NatsError, OSError)


class _Lasting:
    def __init__(self, name: str, run: Callable[[], Awaitable[None]], check: Check | None) -> None:
        self._name = name
        self._run = run
        self._check = check
        self._failure: PlatformError | None = None
        self._pause = RETRY_SECONDS
        self._began_at = time.monotonic()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            self._began_at = time.monotonic()
            try:
                await self._run()
                self._note(PlatformError(errors.INTERNAL, f"{self._name} ended by itself"), is_outage=False)
            except Exception as error:  # whatever it is, the loop is needed
                LOG.error("a loop failed, begins again", exc_info=error, extra={"loop": self._name})
                unforeseen = PlatformError(errors.INTERNAL, f"{self._name} failed: {describe(error)}")
                failure = error if isinstance(error, PlatformError) else unforeseen
                self._note(failure, is_outage=isinstance(error, _OUTAGE))
            await asyncio.sleep(self._pause)

    def _note(self, failure: PlatformError, *, is_outage: bool) -> None:
        has_worked = time.monotonic() - self._began_at > RETRY_SECONDS_MAX
        self._failure = failure
        again = RETRY_SECONDS if has_worked else self._pause * 2
        self._pause = RETRY_SECONDS if is_outage else min(again, RETRY_SECONDS_MAX)

    async def check(self) -> PlatformError | str | None:
        """The last failure, until the loop has worked for longer than it was given to recover; then its own check."""
        if self._failure is not None and time.monotonic() - self._began_at < 2 * self._pause:
            return self._failure
        self._failure = None
        return None if self._check is None else await self._check()


def lasting(name: str, run: Callable[[], Awaitable[None]], *, check: Check | None = None) -> Background:
    """A part of the process (see `chassis.runtime`) that is one loop, begun again whenever it fails."""
    loop = _Lasting(name, run, check)
    return Background(name, loop.run, check=loop.check)
