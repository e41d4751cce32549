"""Questions that are answered or given up in time, whatever they do when they are cancelled.

`asyncio.timeout` cancels what it is about, and then waits for its end: a client of a server that says nothing may put
that off for as long as the server does, and whoever asked would hear nothing at all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Questions:
    """Asked by name. Of one that was given up and has not ended yet no other is begun: they would pile up."""

    def __init__(self) -> None:
        self._given_up: dict[str, asyncio.Task[Any]] = {}

    async def ask(self, name: str, question: Callable[[], Awaitable[T]], seconds: float) -> T:
        """What the question finds, or raises. TimeoutError after `seconds`; at once while an earlier one has no end."""
        earlier = self._given_up.get(name)
        if earlier is not None and not earlier.done():
            raise TimeoutError

        async def call() -> T:
            return await question()

        task = asyncio.create_task(call())
        try:
            await asyncio.wait({task}, timeout=seconds)
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                task.add_done_callback(_look)
                self._given_up[name] = task


def _look(task: "asyncio.Task[Any]") -> None:
    """Nobody waits for it any more: asyncio would complain of an exception that nobody has looked at."""
    if not task.cancelled():
        task.exception()
