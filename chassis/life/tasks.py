"""Tasks that end for certain, and loops that neither end nor stand still in silence.

In Python 3.11 `asyncio.wait_for` swallows a cancellation that arrives together with its result, and client
libraries use it for every request: a task that is cancelled once may go on for ever. `end` cancels until it has ended.

`Supervised` is for whatever runs as long as its process does. An exception that nobody foresaw does not end such a
loop: it is logged, shown by `check` until there is progress again, and the loop is begun anew after a pause that grows.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError

AGAIN_SECONDS = 2.0
"""Longer than what a task has to put in order when it is cancelled, which the next cancellation would interrupt."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
STALL_SECONDS = 60.0
"""How long a turn may take, unless its loop says otherwise: whoever calls what never comes back is not well."""
GRACE_SECONDS = 3.0
"""How long a part of the platform may be away, with tries every second or sooner, before a loop is not ready."""

_log = logging.getLogger(__name__)


async def end(*tasks: "asyncio.Task[object]", again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancel the tasks, and wait until all have ended, however they did. What they raised stays with them."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_seconds)


async def until_set(event: asyncio.Event, seconds: float) -> None:
    """Wait until somebody sets the event, for at most so long. Whoever waited looks again in either case."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Stalled(PlatformError):
    """A loop goes on for ever with what it has begun. Beside the failure of what it waits for it is no cause."""

    def __init__(self, loop: str, seconds: float) -> None:
        super().__init__(
            errors.INTERNAL,
            f"{loop} has made no progress for {seconds:.0f} s",
            hint="Start the process anew; where it happens again, look at what it waits for.",
        )


class Supervised:
    """A loop that runs as long as its process, and a part of it (see `chassis.life.runtime`).

    `run` is either one turn (claim a run, tidy up): it is called again `every_seconds` after it has returned, and a
    return is progress; or it runs for ever and calls `progressed` whenever something was achieved, an empty queue
    that was looked into included. What it raises is kept as `trouble` until there is progress again; it is called
    anew after a pause that doubles up to `longest_pause_seconds`. `check` shows trouble at once, but an UNAVAILABLE
    only after `grace_seconds`, so that a blip does not flap; a loop that has made no progress for `stall_seconds`
    (beside the pause) is not ready either, though nothing was raised: a call that never comes back. One that waits for
    something that may take long wakes up meanwhile, and looks.

    Either pass it to `run_service`, or keep it inside another part, and let its `start`, `stop`, `check` and `ended`
    call this one's. A part that begins tasks of its own (a claimed run) still has to look after those. In short:

        self._loop = Supervised("claim-loop", self._turn, telemetry=telemetry, stall_seconds=60)
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[None]],
        *,
        telemetry: Telemetry | None = None,
        every_seconds: float = 0.0,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.trouble: PlatformError | None = None
        self.is_stopping = False
        self._run = run
        self._telemetry = telemetry
        self._every_seconds = every_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._grace_seconds = grace_seconds
        self._stall_seconds = stall_seconds + every_seconds
        self._pause = FIRST_PAUSE_SECONDS
        self._trouble_since = 0.0
        self._progress_at = 0.0
        self._task: asyncio.Task[None] | None = None
        if telemetry is not None:
            # Shown as 0 from the beginning: of a series that begins with 1 nobody sees that it has grown.
            telemetry.metrics.restarts.labels(name)

    async def start(self) -> None:
        """Begin to run, also once more after a stop."""
        self.is_stopping = False
        self._progress_at = time.monotonic()
        self._task = asyncio.create_task(self._for_ever(), name=self.name)

    async def stop(self, *, wait_seconds: float = 0.0) -> None:
        """Begin no other turn, wait so long for the one under way (which may look at `is_stopping`), then cancel it."""
        self.is_stopping = True
        if self._task is not None:
            if wait_seconds > 0:
                await asyncio.wait({self._task}, timeout=wait_seconds)
            await end(self._task)

    def progressed(self) -> None:
        """Something was achieved: what was wrong is over."""
        if self.trouble is not None:
            _log.info("goes on again", extra={"loop": self.name})
        self.trouble = None
        self._pause = FIRST_PAUSE_SECONDS
        self._progress_at = time.monotonic()

    def failed(self, error: Exception) -> None:
        """Keep what went wrong, until there is progress. For a loop that catches what it raises itself."""
        found = error if isinstance(error, PlatformError) else self._unforeseen(error)
        before = self.trouble
        if before is None:
            self._trouble_since = time.monotonic()
        if before is None or (before.code, before.message) != (found.code, found.message):
            level = logging.WARNING if found.code is errors.UNAVAILABLE else logging.ERROR
            _log.log(level, "makes no progress", exc_info=error, extra={"loop": self.name, "hint": found.hint})
        self.trouble = found

    def _unforeseen(self, error: BaseException) -> PlatformError:
        return PlatformError(
            errors.INTERNAL,
            f"{self.name} broke off: {describe(error)}",
            hint="It is begun anew by itself. Where that does not help, start the process anew; its log has the cause.",
        )

    async def check(self) -> PlatformError | str | None:
        """What keeps it from making progress, or None."""
        now = time.monotonic()
        if self._task is None or self._task.done():
            return PlatformError(errors.UNAVAILABLE, f"{self.name} is not running")
        found = self.trouble
        if found is not None and (
            found.code is not errors.UNAVAILABLE or now - self._trouble_since > self._grace_seconds
        ):
            return found
        if now - self._progress_at > self._stall_seconds:
            return Stalled(self.name, now - self._progress_at)
        return None

    async def ended(self) -> BaseException:
        """Wait until it has ended without having been stopped, which only a cancellation from outside can do."""
        if self._task is not None:
            await asyncio.wait({self._task})
        return PlatformError(errors.INTERNAL, f"{self.name} is not running")

    async def _for_ever(self) -> None:
        while True:
            try:
                await self._run()
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody has cancelled this loop: something that it waited for was, and the cancellation leaked out.
                self._broke_off(error)
            except Exception as error:  # noqa: BLE001  # whatever it is, the loop must not end by it
                self._broke_off(error)
            else:
                self.progressed()
                if self.is_stopping:
                    return
                await asyncio.sleep(self._every_seconds)
                continue
            if self.is_stopping:
                return
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, self._longest_pause_seconds)

    def _broke_off(self, error: BaseException) -> None:
        if not isinstance(error, PlatformError):
            self.restarts += 1
            if self._telemetry is not None:
                self._telemetry.metrics.restarts.labels(self.name).inc()
        self.failed(error if isinstance(error, Exception) else self._unforeseen(error))
