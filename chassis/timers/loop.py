"""The loop that fires timers: each that falls due is handed to the handler of its kind.

Promise: a handler that fails holds up no other timer; it is called again after a pause that doubles, for ever, and
until it succeeds every replica is degraded and names the timer. Of each kind `AT_ONCE` are handled at the same time, so
that handlers which hang hold up others of their own kind alone, and those for no longer than `HANDLER_SECONDS`. Several
replicas run this loop over one table.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

from chassis.life.health import Health
from chassis.life.tasks import Supervised, end
from chassis.record.statements import StatementRefused
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from chassis.timers.table import LONGEST_PAUSE_SECONDS, TIMER, Timer, TimerTable
from contracts import errors
from contracts.errors import PlatformError

EVERY_SECONDS = 1.0
AT_ONCE = 4
"""How many timers of one kind are handled at the same time."""
HANDLER_SECONDS = 20.0
"""A handler records something; who has not come back after so long is left, well before others may take the timer."""
STALL_SECONDS = 120.0
TELL_SECONDS = 5.0
"""How old the news of timers that fail may become while there are always others to fire."""

Handler = Callable[[Timer], Awaitable[None]]
"""Records what the timer causes, with `Timer.done` or `Timer.moved` in the same transaction. May be called again."""

_log = logging.getLogger(__name__)


class TimerLoop:
    """A part of a process (see `chassis.life.runtime`). `handlers`: by the timer's kind.

    `recalled`: the kinds whose handlers plan anew what is not due yet: they are called where the clock was put back.
    `at_once`: how many of a kind are handled at the same time, where that is not `AT_ONCE`.
    """

    name = "timers"

    def __init__(
        self,
        table: TimerTable,
        handlers: Mapping[str, Handler],
        *,
        health: Health,
        telemetry: Telemetry | None = None,
        every_seconds: float = EVERY_SECONDS,
        handler_seconds: float = HANDLER_SECONDS,
        recalled: Collection[str] = (),
        at_once: Mapping[str, int] | None = None,
    ) -> None:
        self._table = table
        self._handlers = handlers
        self._health = health
        self._handler_seconds = handler_seconds
        self._recalled = tuple(recalled)
        self._at_once = at_once or {}
        self._errors: dict[str, PlatformError] = {}
        self._unknown: set[str] = set()
        self._tell_at = 0.0
        self._every_seconds = every_seconds
        self._firing: dict[asyncio.Task[None], str] = {}
        self._loop = Supervised(
            self.name, self._turn, telemetry=telemetry, every_seconds=every_seconds, stall_seconds=STALL_SECONDS
        )

    async def start(self) -> None:
        """Begin to fire."""
        await self._loop.start()

    async def stop(self) -> None:
        """Begin no other timer; those under way have their time."""
        await self._loop.stop(wait_seconds=self._handler_seconds)
        if self._firing:
            await asyncio.wait(self._firing, timeout=self._handler_seconds)
            await end(*self._firing)

    async def check(self) -> PlatformError | str | None:
        """What keeps timers from being looked at; which of them fail is shown beside this."""
        return await self._loop.check()

    async def ended(self) -> BaseException:
        """See `Supervised`."""
        return await self._loop.ended()

    async def _turn(self) -> None:
        """Begin with all that is due; where a kind has its number under way, go on as soon as one of them is over."""
        while not self._loop.is_stopping:
            under_way = Counter(self._firing.values())
            free = [kind for kind in self._handlers if under_way[kind] < self._at_once.get(kind, AT_ONCE)]
            timer = await self._table.take(free) if free else None
            if timer is not None:
                task = asyncio.create_task(self._fire(timer), name=f"timer {timer.kind}")
                self._firing[task] = timer.kind
                task.add_done_callback(self._firing.pop)
            elif len(free) < len(self._handlers) and self._firing:
                await asyncio.wait(self._firing, timeout=self._every_seconds, return_when=asyncio.FIRST_COMPLETED)
            else:
                break
            if time.monotonic() >= self._tell_at:
                await self._tell()
            self._loop.progressed()
        await self._tell()

    async def _fire(self, timer: Timer) -> None:
        try:
            async with asyncio.timeout(self._handler_seconds):
                await self._handlers[timer.kind](timer)
            if not await self._table.put_back(timer, _pause(timer)):
                return
            error: Exception = PlatformError(errors.INTERNAL, "its handler has returned and not ended it")
        except StatementRefused as refused:
            if refused.name == TIMER:
                # Set anew, cancelled, or taken by another replica that believed this one dead: nothing was recorded.
                return
            error = refused
        except Exception as failure:  # noqa: BLE001  # whatever it is, the other timers are fired
            error = failure
        self._failed(timer, error)
        with suppress(PlatformError):  # else it is held until its time is over
            await self._table.put_back(timer, _pause(timer))

    def _failed(self, timer: Timer, error: Exception) -> None:
        extra = {"timer": timer.kind, "timerName": timer.name, "tries": timer.tries}
        _log.warning("a timer could not be handled", exc_info=error, extra=extra)
        if not isinstance(error, PlatformError):
            error = PlatformError(errors.INTERNAL, describe(error), hint="Look at the log of this process.")
        self._errors[timer.kind] = error

    async def _tell(self) -> None:
        """Which timers fail is in the table, also where it was another replica that tried, and died of it."""
        self._tell_at = time.monotonic() + TELL_SECONDS
        await self._table.release()
        if self._recalled:
            await self._table.recall(self._recalled)
        self._tell_unknown(await self._table.unknown(list(self._handlers)))
        failing = await self._table.failing(list(self._handlers))
        for kind in self._handlers:
            name = f"timer {kind}"
            if kind not in failing:
                self._errors.pop(kind, None)
                self._health.restore(name)
                continue
            count, example, tries = failing[kind]
            error = self._errors.get(kind)
            if error is None:
                error = PlatformError(errors.INTERNAL, "", hint="Look at the logs of the other replicas.")
            why = f": {error.message}" if error.message else ""
            message = f"{count} of these timers fail, such as {example}, tried {tries} times{why}"
            self._health.degrade(name, error.told_as(message))

    def _tell_unknown(self, found: Mapping[str, tuple[int, str]]) -> None:
        """What a newer or an older version has set, and nobody here fires."""
        for kind in self._unknown - found.keys():
            self._health.restore(f"timer {kind}")
        self._unknown = set(found)
        for kind, (count, example) in found.items():
            error = PlatformError(
                errors.INTERNAL,
                f"{count} due timers of the kind {kind}, such as {example}, have no handler here",
                hint="Run the version of the service that has set them, on every replica.",
            )
            self._health.degrade(f"timer {kind}", error)


def _pause(timer: Timer) -> float:
    return min(2.0 ** min(timer.tries - 1, 16), LONGEST_PAUSE_SECONDS)
