"""The status of each organisation, read a few times a second at most, however often it is asked for.

Promise: an answer is at most `FRESH_SECONDS` old, and never older than the latest fact of its organisation that this
gateway has heard of: who has just been told that a run was accepted sees it. One reading of an organisation goes on at
a time: who needs a newer one waits for the next, together with all others who do. Where it is asked for often, nobody
waits: an answer that has half of its time left is shown while the next one is read.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence

from gateway.projections.fact import Fact

FRESH_SECONDS = 0.5
ORGANISATIONS_MAX = 10_000


class _Entry:
    """One organisation. `answer` was read at `asked_at`; `following` is read after it, for what has happened since."""

    def __init__(self, answer: "asyncio.Task[bytes]", asked_at: float) -> None:
        self.answer = answer
        self.asked_at = asked_at
        self.is_outdated = False
        self.following: asyncio.Task[bytes] | None = None


class StatusBoard:
    """Answers, as JSON bytes. `read` reads the status of an organisation."""

    def __init__(
        self, read: Callable[[str], Coroutine[None, None, bytes]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def of(self, organisation: str) -> bytes:
        """The status of an organisation. Those who ask at the same time share one reading."""
        entry = self._entries.get(organisation)
        if entry is None:
            entry = self._entries[organisation] = self._begun(organisation)
            if len(self._entries) > ORGANISATIONS_MAX:
                self._entries.popitem(last=False)
        self._entries.move_to_end(organisation)
        age = self._clock() - entry.asked_at
        if entry.is_outdated or age >= FRESH_SECONDS:
            return await asyncio.shield(self._next(organisation, entry))
        if age >= FRESH_SECONDS / 2 and entry.answer.done():
            self._next(organisation, entry)
        return await asyncio.shield(entry.answer)

    def _begun(self, organisation: str) -> _Entry:
        # The age counts from before the reading begins, so that what changes meanwhile is never hidden for longer.
        entry = _Entry(asyncio.create_task(self._read(organisation)), self._clock())
        entry.answer.add_done_callback(lambda answer: self._drop_failed(organisation, answer))
        return entry

    def _next(self, organisation: str, entry: _Entry) -> "asyncio.Task[bytes]":
        if entry.following is None:
            entry.following = asyncio.create_task(self._follow(organisation, entry))
            # Perhaps nobody waits for it: then nobody needs to hear of its error either.
            entry.following.add_done_callback(lambda task: task.cancelled() or task.exception())
        return entry.following

    async def _follow(self, organisation: str, entry: _Entry) -> bytes:
        await asyncio.wait({entry.answer})
        following = self._begun(organisation)
        self._entries[organisation] = following
        return await asyncio.shield(following.answer)

    def _drop_failed(self, organisation: str, answer: "asyncio.Task[bytes]") -> None:
        entry = self._entries.get(organisation)
        if (answer.cancelled() or answer.exception() is not None) and entry is not None and entry.answer is answer:
            del self._entries[organisation]

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: what was read before them is outdated; all of it, where a rebuild has begun."""
        outdated = {fact.organisation for fact in new} if new else set(self._entries)
        for organisation in outdated:
            entry = self._entries.get(organisation)
            if entry is not None:
                entry.is_outdated = True
