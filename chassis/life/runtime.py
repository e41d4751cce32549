"""The life of a process: start its parts in order, run until told to stop, stop them in reverse.

Promise: a part is started only after all before it, and stopped only after all behind it; SIGTERM and
SIGINT stop gracefully (a second one at once); a part that dies takes the process down with an exit
code that says so, for the supervisor to start it anew.
"""

import asyncio
import atexit
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol, TypeVar, runtime_checkable

import uvloop

from chassis.life.health import DEGRADED, Health
from chassis.life.init_system import InitSystem
from chassis.life.postgres_role import with_role
from chassis.life.tasks import end
from chassis.own_folders import require_folder, require_places
from chassis.settings import ServiceSettings, load
from chassis.telemetry.logging import configure, speak_as
from contracts import errors
from contracts.errors import PlatformError

_log = logging.getLogger(__name__)

S = TypeVar("S", bound=ServiceSettings)

EXIT_OK = 0
EXIT_CRASHED = 70
"""A part died or could not be started; starting anew may help."""
EXIT_CONFIGURATION = 78
"""A setting is missing or not valid; starting anew does not help."""

STOP_SECONDS = 6.0
"""What the stops of all parts may take together: the supervisor kills what is there after eight."""
LAST_SECONDS = 0.1
"""What each part has for its stop where those before it have used up that time."""
CLOSE_SECONDS = 1.0
"""What the loop's end may take once all parts have stopped."""


STOPS: list[asyncio.Event] = []
"""What a signal sets: the stop of each service that runs in this process, one of most (`chassis.life.together`)."""
ENVIRONMENT: ContextVar[Mapping[str, str] | None] = ContextVar("environment", default=None)
"""The settings of a service that runs in another one's process; None for those of the process itself."""


class Part(Protocol):
    """Something that a process consists of."""

    name: str

    async def start(self) -> None:
        """Return once the part works. Raises PlatformError."""

    async def stop(self) -> None:
        """Finish what is under way and let go of everything. Called once, also where `start` has failed half-way."""

    async def check(self) -> PlatformError | str | None:
        """None where the part can do its work, else what is wrong."""


@runtime_checkable
class Mortal(Protocol):
    """A part that may end by itself, which ends the process."""

    async def ended(self) -> BaseException:
        """Wait until it ends without having been stopped, and say why."""


@runtime_checkable
class Filling(Protocol):
    """A part that works, and may have much to bring up to date before what others read of it is whole."""

    async def unfinished(self) -> str | None:
        """How far that is; None where nothing is owed."""


async def run_service(
    parts: Sequence[Part], *, health: Health, stop: asyncio.Event | None = None, grace_seconds: float = STOP_SECONDS
) -> int:
    """Start the parts, wait for a signal (or `stop`, or the end of a part), stop in reverse; the exit code.

    Each part's `check` joins the readiness report under its name; until all run, those that have begun are asked alone.
    `grace_seconds` bounds the stop of all of them.
    """
    stop = stop or asyncio.Event()
    running = False
    begun: list[Part] = []

    async def lifecycle() -> PlatformError | None:
        if running:
            return None
        what = f"starting: {begun[-1].name}" if begun and not stop.is_set() else "starting or stopping"
        return PlatformError(errors.UNAVAILABLE, f"the process is {what}")

    health.add("process", lifecycle)
    health.ask_only(["process"])
    for part in parts:
        health.add(part.name, part.check)
        if isinstance(part, Filling):
            health.add(f"{part.name}-filling", part.unfinished, worst=DEGRADED)
    failure: BaseException | None = None
    with _stopping_on_signals(stop):
        try:
            failure = await _start(parts, begun, stop, health)
            if failure is None and not stop.is_set():
                set_aside_what_stays()
                running = True
                health.ask_only(None)
                _log.info("started")
                with InitSystem.of(os.environ).told():
                    failure = await _wait(begun, stop)
        finally:
            running = False
            health.ask_only(["process"])
            gc.unfreeze()
            if failure is not None:
                _log.error("stopping because a part failed", exc_info=failure, extra=_what_to_do(failure))
            whole = await _stop(begun, grace_seconds)
    _log.info("stopped")
    if failure is None:
        return EXIT_OK if whole else EXIT_CRASHED
    if isinstance(failure, PlatformError) and failure.code is errors.INVALID_SETTING:
        return EXIT_CONFIGURATION
    return EXIT_CRASHED


def set_aside_what_stays() -> None:
    """Keep the garbage collector from looking again and again at what was imported and made for the start.

    These hundred thousand objects stay until the end, and one full collection over them holds the event loop, and
    whoever waits for an answer, for a tenth of a second.
    """
    gc.collect()
    gc.freeze()


@contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if any(each.is_set() for each in STOPS):
            # The second signal comes from somebody who does not want to wait. Nothing is lost: what is
            # recorded is recorded, and what is not acknowledged is delivered again.
            os._exit(128 + number)
        _log.info("told to stop", extra={"signal": number.name})
        for each in STOPS:
            each.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    STOPS.append(stop)
    for number in numbers:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        STOPS.remove(stop)
        for number in numbers if not STOPS else ():
            loop.remove_signal_handler(number)


async def _start(parts: Sequence[Part], begun: list[Part], stop: asyncio.Event, health: Health) -> BaseException | None:
    """Start in order; what failed, or None. A stop that comes meanwhile cancels the start that is under way."""
    told = asyncio.create_task(stop.wait())
    try:
        for part in parts:
            begun.append(part)
            health.ask_only(["process", *(each.name for each in begun)])
            starting = asyncio.create_task(part.start(), name=f"start {part.name}")
            await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                await end(starting)
            if stop.is_set():
                return None
            if starting.cancelled():
                return PlatformError(errors.INTERNAL, f"the start of {part.name} was cancelled")
            if (failure := starting.exception()) is not None:
                return failure
    finally:
        told.cancel()
    return None


async def _wait(parts: Sequence[Part], stop: asyncio.Event) -> BaseException | None:
    """Wait for the stop or for the end of a part; what ended, or None."""
    told = asyncio.create_task(stop.wait())
    ends = {asyncio.create_task(part.ended(), name=f"end of {part.name}") for part in parts if isinstance(part, Mortal)}
    done, _ = await asyncio.wait({told, *ends}, return_when=asyncio.FIRST_COMPLETED)
    await end(told, *ends)
    if stop.is_set():
        return None
    return next((each.result() for each in ends if each in done), None)


async def _stop(begun: Sequence[Part], grace_seconds: float) -> bool:
    """Stop in reverse, all within that time; whether all did. A part that fails to stop does not keep the others."""
    whole = True
    until = time.monotonic() + grace_seconds
    for part in reversed(begun):
        stopping = asyncio.create_task(part.stop(), name=f"stop {part.name}")
        await asyncio.wait({stopping}, timeout=max(LAST_SECONDS, until - time.monotonic()))
        # One that swallows its cancellation is not waited for: the process ends all the same.
        if stopping.cancel():
            error: BaseException | None = TimeoutError("it took too long")
        else:
            error = asyncio.CancelledError() if stopping.cancelled() else stopping.exception()
        if error is not None:
            whole = False
            _log.error("a part did not stop cleanly", exc_info=error, extra={"part": part.name})
    return whole


def begin(settings: type[S], service: str) -> S:
    """Read a process's settings, and log by them. Raises INVALID_SETTING, which is logged like everything else."""
    own = ENVIRONMENT.get()
    if own is None:
        configure(service)
    else:
        speak_as(service)
    read = with_role(load(settings, os.environ if own is None else own))
    require_places(read)
    require_folder("keys_dir", read.keys_dir)
    if own is None:
        configure(service, level=read.log_level)
    return read


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a process's main coroutine on uvloop; the exit code. What it raises is logged without its values.

    Where the loop cannot be closed, the process ends here, with that code: a thread that hangs on a tier or a server,
    and a task that has swallowed its cancellation, would be waited for without a bound.
    """
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    code = EXIT_CRASHED
    try:
        runner.get_loop().set_exception_handler(_log_unhandled)
        code = runner.run(main())
    except PlatformError as error:
        _log.error("could not start", exc_info=error, extra=_what_to_do(error))
        code = EXIT_CONFIGURATION if error.code is errors.INVALID_SETTING else EXIT_CRASHED
    except Exception as error:  # noqa: BLE001  # the last resort of a process
        _log.critical("crashed", exc_info=error)
    finally:
        with _ending(code):
            runner.close()
    return code


def leave(code: int) -> NoReturn:
    """End the process at once, with this exit code, once all is stopped: what is registered for its end is done.

    Python would look at every object once more and take down module by module. That is half a second of a core for each
    process, at the very moment when all of them end, and frees nothing that the kernel does not. Nor is a thread waited
    for that hangs on a tier: what it does is what a process does that was killed.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # what `sys.exit` would call, and nothing else does
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


@contextmanager
def _ending(code: int) -> Iterator[None]:
    """Leave with this code where what is done here, the last of a process, has no end."""

    def give_up() -> None:
        left = sorted(each.name for each in threading.enumerate())
        _log.warning("the process ends beside what does not", extra={"threads": left})
        leave(code)

    last = threading.Timer(CLOSE_SECONDS, give_up)
    last.daemon = True
    last.start()
    try:
        yield
    finally:
        last.cancel()


def _what_to_do(error: BaseException) -> dict[str, str | None]:
    return {"field": error.field, "hint": error.hint} if isinstance(error, PlatformError) else {}


def _log_unhandled(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a task or a callback raised and nobody awaited. asyncio's own handler would quote the values."""
    error = context.get("exception")
    _log.error("unhandled in the event loop", exc_info=error, extra={"what": str(context.get("message", ""))})
