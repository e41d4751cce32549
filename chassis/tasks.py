"""Ending tasks for certain.

In Python 3.11 `asyncio.wait_for` swallows a cancellation that arrives together with its result, and client
libraries use it for every request: a task that is cancelled once may go on for ever. `end` cancels until it has ended.
"""

import asyncio

AGAIN_SECONDS = 2.0
"""Longer than what a task has to put in order when it is cancelled, which the next cancellation would interrupt."""


async def end(*tasks: "asyncio.Task[object]", again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancel the tasks, and wait until all have ended, however they did. What they raised stays with them."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_seconds)
