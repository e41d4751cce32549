"""The life of a process: start its parts in order, run until told to stop, stop them in reverse.

Promise: a part is started only after all before it, and stopped only after all behind it; SIGTERM and
SIGINT stop gracefully (a second one at once); a part that dies takes the process down with an exit
code that says so, for the supervisor to start it anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

from chassis.health import Check, Health
from contracts.errors import PlatformError

EXIT_OK = 0
EXIT_CRASHED = 70
"""A part died or could not be started; starting anew may help."""
EXIT_CONFIGURATION = 78
"""A setting is missing or not valid; starting anew does not help."""


class Part(Protocol):
    """Something that a process consists of."""

    name: str

    async def start(self) -> None:
        """Return once the part works. Raises PlatformError."""

    async def stop(self) -> None:
        """Finish what is under way and let go of everything. Called once, also after a failed start of a later part."""

    async def check(self) -> PlatformError | str | None:
        """None where the part can do its work, else what is wrong."""


class Background:
    """A part that is one coroutine function running until it is cancelled; when it ends by itself, the process ends."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], *, check: Check | None = None) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Begin running."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Cancel and wait until it has ended."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """What its own check says; an error once it has ended."""
        raise NotImplementedError

    async def ended(self) -> BaseException:
        """Wait until it ends without having been stopped, and say why."""
        raise NotImplementedError


async def run_service(
    parts: Sequence[Part], *, health: Health, stop: asyncio.Event | None = None, grace_seconds: float = 20.0
) -> int:
    """Start the parts, wait for a signal (or `stop`, or the end of a part), stop in reverse; the exit code.

    Each part's `check` joins the readiness report under its name. `grace_seconds` bounds the stop of each part.
    """
    raise NotImplementedError


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a process's main coroutine on uvloop; the exit code. A PlatformError is logged, never a traceback of values."""
    raise NotImplementedError
