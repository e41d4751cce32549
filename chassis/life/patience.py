"""Waiting patiently: a call is made again while a part of the platform is away, with an end."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chassis.life.blocking import RunInterrupted
from contracts import errors
from contracts.errors import PlatformError

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")


async def patiently(
    call: Callable[[], Awaitable[T]],
    is_cancelled: Callable[[], bool] = lambda: False,
    *,
    seconds: float = PATIENCE_SECONDS,
    pause_seconds: float = PAUSE_SECONDS,
) -> T:
    """Make a call again while it raises UNAVAILABLE: hours of work are not thrown away for a restart.

    After `seconds` UNAVAILABLE is raised, and `RunInterrupted` once `is_cancelled` says so; whatever else the call
    raises is raised at once. A call that may have been done although it has failed must be fit to be made again.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except PlatformError as error:
            if error.code is not errors.UNAVAILABLE or time.monotonic() > deadline:
                raise
        if is_cancelled():
            raise RunInterrupted
        await asyncio.sleep(pause_seconds)
