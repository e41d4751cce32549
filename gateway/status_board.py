"""The status of each organisation, read at most twice a second however often it is asked for.

Promise: an answer is at most `FRESH_SECONDS` old, and never older than the latest fact of its organisation that this
gateway has heard of: who has just been told that a run was accepted sees it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence

import msgspec

from gateway.projections.facts import Fact

FRESH_SECONDS = 0.5
ORGANISATIONS_MAX = 10_000


class _Entry(msgspec.Struct):
    answer: "asyncio.Task[bytes]"
    asked_at: float
    is_outdated: bool = False


class StatusBoard:
    """Answers, as JSON bytes. `read` reads the status of an organisation."""

    def __init__(
        self, read: Callable[[str], Coroutine[None, None, bytes]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    async def of(self, organisation: str) -> bytes:
        """The status of an organisation. Those who ask at the same time share one reading."""
        now = self._clock()
        entry = self._entries.get(organisation)
        if entry is not None and not entry.is_outdated and now - entry.asked_at < FRESH_SECONDS:
            return await asyncio.shield(entry.answer)
        if len(self._entries) >= ORGANISATIONS_MAX:
            self._entries.clear()
        # The age counts from before the reading began, so that what changes meanwhile is never hidden for longer.
        entry = self._entries[organisation] = _Entry(asyncio.create_task(self._read(organisation)), now)
        entry.answer.add_done_callback(lambda answer: self._drop_failed(organisation, answer))
        return await asyncio.shield(entry.answer)

    def _drop_failed(self, organisation: str, answer: "asyncio.Task[bytes]") -> None:
        entry = self._entries.get(organisation)
        if (answer.cancelled() or answer.exception() is not None) and entry is not None and entry.answer is answer:
            del self._entries[organisation]

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: what was read before them is outdated; all of it, where a rebuild has begun."""
        if not new:
            self._entries.clear()
        for organisation in {fact.organisation for fact in new}:
            entry = self._entries.get(organisation)
            if entry is not None:
                entry.is_outdated = True
