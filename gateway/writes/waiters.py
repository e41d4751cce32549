"""Waiting for the fact that answers a request, bounded.

Promise: a waiter that is registered before its request is published never misses the answer, and is let go only
after the read models show it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.projections.fact import Fact


class Waiter:
    """One who waits for the answer to a request. `fact` is the answer, once it is there."""

    def __init__(self) -> None:
        self.fact: Fact | None = None
        self._told = asyncio.Event()

    def tell(self, fact: Fact) -> None:
        """The answer."""
        self.fact = fact
        self._told.set()

    async def wait(self, seconds: float) -> Fact | None:
        """The answer; None where it did not come in time."""
        try:
            # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with what it waits for.
            async with asyncio.timeout(seconds):
                await self._told.wait()
        except TimeoutError:
            return None
        return self.fact


class Waiters:
    """Who waits for which request, in this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[Waiter]] = defaultdict(set)

    @contextmanager
    def expect(self, request_id: str) -> Iterator[Waiter]:
        """One who hears of the answer to a request from now on."""
        waiter = Waiter()
        self._waiting[request_id].add(waiter)
        try:
            yield waiter
        finally:
            waiting = self._waiting[request_id]
            waiting.discard(waiter)
            if not waiting:
                del self._waiting[request_id]

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: let go whoever waits for one of them."""
        for fact in new:
            if fact.request_id is not None:
                for waiter in self._waiting.get(fact.request_id, ()):
                    waiter.tell(fact)

    def __len__(self) -> int:
        return len(self._waiting)
