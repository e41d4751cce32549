"""Denials of authenticated people, in the record: the first at once, repeats counted.

Promise: each person and code is recorded at most twice a minute: the first denial when it happens, before it is
answered; what follows within the minute as one event with its number, when the minute is over.
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from chassis.context import Context
from chassis.ids import Ids
from chassis.life.tasks import Supervised
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry, current_traceparent
from chassis.telemetry.logging import describe
from contracts.errors import PlatformError
from gateway.auth.domain import Denial
from gateway.auth.principal import Principal

LOG = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
WINDOWS_MAX = 10_000
STALL_SECONDS = 120.0
"""Much longer than a look at the windows takes, even where each of some must wait for a record that is away."""


class _Window(msgspec.Struct):
    began_at: float
    organisation: str
    actor: str
    code: str
    route: str = ""
    method: str = ""
    repeats: int = 0


class DenialLog:
    """Records denials while `loop` closes the windows. `clock` is monotonic seconds."""

    def __init__(
        self,
        store: EventStore,
        ids: Ids,
        clock: Callable[[], float] = time.monotonic,
        *,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._store = store
        self._ids = ids
        self._clock = clock
        self._windows: dict[tuple[str, str, str], _Window] = {}
        self.loop = Supervised("denials", self.run, telemetry=telemetry, stall_seconds=STALL_SECONDS)

    async def note(self, principal: Principal, code: str, route: str, method: str) -> None:
        """Somebody was denied something. Never raises: a denial stays a denial when the record cannot be reached."""
        key = (principal.organisation, principal.actor, code)
        window = self._windows.get(key)
        if window is not None and self._clock() - window.began_at < WINDOW_SECONDS:
            window.repeats += 1
            window.route, window.method = route, method
            return
        if window is not None:
            await self._close(key)
        if len(self._windows) >= WINDOWS_MAX:
            await self._close(next(iter(self._windows)))
        window = self._windows[key] = _Window(self._clock(), *key)
        await self._record(window, route, method, 1)

    async def run(self) -> None:
        """Close windows that are over, until cancelled; then all of them."""
        try:
            while True:
                await asyncio.sleep(WINDOW_SECONDS / 6)
                await self.close_old()
                self.loop.progressed()
        finally:
            # Shielded by the caller's grace time: what was counted is written down before the process ends.
            for key in list(self._windows):
                await self._close(key)

    async def close_old(self) -> None:
        """Write down the repeats of the windows that are over."""
        now = self._clock()
        for key, window in list(self._windows.items()):
            if now - window.began_at >= WINDOW_SECONDS:
                await self._close(key)

    async def _close(self, key: tuple[str, str, str]) -> None:
        window = self._windows.pop(key, None)
        if window is not None and window.repeats:
            await self._record(window, window.route, window.method, window.repeats)

    async def _record(self, window: _Window, route: str, method: str, repeats: int) -> None:
        denial = Denial(self._ids.new())
        denial.note(window.code, route, method, repeats)
        context = Context(
            organisation=window.organisation,
            actor=window.actor,
            correlation_id=denial.id,
            traceparent=current_traceparent(),
        )
        try:
            await self._store.save(denial, context=context)
        except PlatformError as error:
            LOG.error("denial not recorded", extra={"cause": describe(error), "code": window.code, "repeats": repeats})
