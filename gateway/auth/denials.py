"""Denials of authenticated people, in the record: the first at once, repeats counted.

Promise: each person and code is recorded at most twice a minute: the first denial when it happens, before it is
answered; what follows within the minute as one event with its number, when the minute is over, or the process ends.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from chassis.context import Context
from chassis.ids import Ids
from chassis.life.tasks import Supervised
from chassis.record.eventstore import EventStore
from chassis.telemetry.instruments import Telemetry, current_traceparent
from chassis.telemetry.logging import describe
from contracts.errors import PlatformError
from contracts.gateway_events import Evidence
from gateway.auth.domain import Denial
from gateway.auth.principal import Principal

LOG = logging.getLogger(__name__)

WINDOW_SECONDS = 60.0
WINDOWS_MAX = 10_000
WRITTEN_AT_ONCE = 32
"""What waits for the disk at the same time is committed together: a stop writes down thousands within its time."""
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
    """A part of the process (see `chassis.life.runtime`). `clock` is monotonic seconds."""

    name = "denials"

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
        self._writing: set[asyncio.Task[None]] = set()
        self._loop = Supervised(
            self.name,
            self.close_old,
            telemetry=telemetry,
            every_seconds=WINDOW_SECONDS / 6,
            stall_seconds=STALL_SECONDS,
        )

    async def start(self) -> None:
        """Begin to close windows that are over."""
        await self._loop.start()

    async def stop(self) -> None:
        """Write down what was counted: all windows are closed, and none is left in the middle of it."""
        await self._loop.stop()
        await self._close(list(self._windows))
        while self._writing:
            await asyncio.wait(self._writing)

    async def check(self) -> PlatformError | str | None:
        """What keeps windows from being closed, or None."""
        return await self._loop.check()

    async def ended(self) -> BaseException:
        """Wait until the loop has ended without having been stopped."""
        return await self._loop.ended()

    async def note(
        self,
        principal: Principal,
        code: str,
        route: str,
        method: str,
        evidence: Callable[[], Awaitable[Evidence]] | None = None,
    ) -> None:
        """Somebody was denied something. Never raises: a denial stays a denial when the record cannot be reached.

        `evidence` is asked for where the denial is recorded by itself: not of repeats, which are counted.
        """
        key = (principal.organisation, principal.actor, code)
        window = self._windows.get(key)
        if window is not None and self._clock() - window.began_at >= WINDOW_SECONDS:
            await self._close([key])
            window = self._windows.get(key)  # Another request may have made one meanwhile.
        if window is not None:
            window.repeats += 1
            window.route, window.method = route, method
            return
        window = self._windows[key] = _Window(self._clock(), *key)
        if len(self._windows) > WINDOWS_MAX:
            await self._close([next(iter(self._windows))])
        await self._record(window, route, method, 1, evidence and await evidence())

    async def close_old(self) -> None:
        """Write down the repeats of the windows that are over."""
        now = self._clock()
        await self._close([key for key, each in self._windows.items() if now - each.began_at >= WINDOW_SECONDS])

    async def _close(self, keys: Sequence[tuple[str, str, str]]) -> None:
        windows = iter([window for key in keys if (window := self._windows.pop(key, None)) and window.repeats])

        async def write() -> None:
            for window in windows:
                await self._record(window, window.route, window.method, window.repeats)

        tasks = [asyncio.create_task(write()) for _ in range(min(len(keys), WRITTEN_AT_ONCE))]
        self._writing.update(tasks)
        for task in tasks:
            task.add_done_callback(self._writing.discard)
        # Who is cancelled while it waits takes nothing with it: what has left its window is in no other place.
        await asyncio.shield(asyncio.gather(*tasks))

    async def _record(
        self, window: _Window, route: str, method: str, repeats: int, evidence: Evidence | None = None
    ) -> None:
        denial = Denial(self._ids.new())
        denial.note(window.code, route, method, repeats, evidence)
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
