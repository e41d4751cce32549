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


class _Reading:
    """One reading, under way or done."""

    def __init__(self, answer: "asyncio.Task[bytes]", began_at: float) -> None:
        self.answer = answer
        self.began_at = began_at
        self.is_outdated = False


class _Entry:
    """One organisation: what is shown, the reading that is under way, and who waits for the one behind that."""

    def __init__(self, organisation: str) -> None:
        self.organisation = organisation
        self.shown: _Reading | None = None
        self.under_way: _Reading | None = None
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
            entry = self._entries[organisation] = _Entry(organisation)
            if len(self._entries) > ORGANISATIONS_MAX:
                self._entries.popitem(last=False)
        self._entries.move_to_end(organisation)
        if entry.shown is not None and self._is_current(entry.shown):
            if entry.under_way is None and self._age(entry.shown) >= FRESH_SECONDS / 2:
                self._begin(entry)
            return entry.shown.answer.result()
        if entry.under_way is None or self._is_current(entry.under_way):
            return await asyncio.shield((entry.under_way or self._begin(entry)).answer)
        if entry.following is None:
            entry.following = asyncio.create_task(self._follow(entry))
            entry.following.add_done_callback(_heard)
        return await asyncio.shield(entry.following)

    def _age(self, reading: _Reading) -> float:
        # Counted from before the reading begins, so that what changes meanwhile is never hidden for longer.
        return self._clock() - reading.began_at

    def _is_current(self, reading: _Reading) -> bool:
        return not reading.is_outdated and self._age(reading) < FRESH_SECONDS

    def _begin(self, entry: _Entry) -> _Reading:
        reading = entry.under_way = _Reading(asyncio.create_task(self._read(entry.organisation)), self._clock())

        def done(answer: "asyncio.Task[bytes]") -> None:
            entry.under_way = None
            if _heard(answer):
                entry.shown = reading

        reading.answer.add_done_callback(done)
        return reading

    async def _follow(self, entry: _Entry) -> bytes:
        while entry.under_way is not None and not self._is_current(entry.under_way):
            await asyncio.wait({entry.under_way.answer})
        entry.following = None
        return await asyncio.shield((entry.under_way or self._begin(entry)).answer)

    def tell(self, new: Sequence[Fact]) -> None:
        """New facts: what was read before them is outdated; all of it, where a rebuild has begun."""
        outdated = {fact.organisation for fact in new} if new else set(self._entries)
        for organisation in outdated:
            entry = self._entries.get(organisation)
            for reading in () if entry is None else (entry.shown, entry.under_way):
                if reading is not None:
                    reading.is_outdated = True


def _heard(answer: "asyncio.Task[bytes]") -> bool:
    """Whether a reading went well. Perhaps nobody waits for it: then nobody needs to hear of its error either."""
    return not answer.cancelled() and answer.exception() is None
