"""Waiting for something that becomes true, without sleeping for a fixed time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""Only a test that fails waits that long; a busy machine needs some of it."""


async def eventually(
    check: Callable[[], T | Awaitable[T]], *, within: float = PATIENCE_SECONDS, every: float = 0.02
) -> T:
    """Return the first truthy answer of `check`, called again and again; fail when there is none in time (seconds)."""
    deadline = time.monotonic() + within
    failure: BaseException | None = None
    while True:
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
            failure = None
            if answer:
                return answer  # type: ignore[return-value]  # narrowed by isawaitable above
        except Exception as error:  # noqa: BLE001  # the check may fail until what it looks at is there
            failure = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {check}") from failure
        await asyncio.sleep(every)
