"""Waiting for the fact that answers a request, bounded.

Promise: a waiter that is registered before its request is published never misses the answer, and is let go only
after the read models show it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gateway.projections.facts import Fact


class Waiters:
    """Who waits for which request, in this process."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def expect(self, request_id: str) -> Iterator[asyncio.Event]:
        """An event that is set once the request is answered."""
        answered = asyncio.Event()
        self._waiting[request_id].add(answered)
        try:
            yield answered
        finally:
            waiting = self._waiting[request_id]
            waiting.discard(answered)
            if not waiting:
                del self._waiting[request_id]

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: let go whoever waits for one of them."""
        for fact in new:
            if fact.request_id is not None:
                for answered in self._waiting.get(fact.request_id, ()):
                    answered.set()

    def __len__(self) -> int:
        return len(self._waiting)


async def wait(answered: asyncio.Event, seconds: float) -> bool:
    """Whether the answer came in time."""
    try:
        async with asyncio.timeout(seconds):
            await answered.wait()
    except TimeoutError:
        return False
    return True
