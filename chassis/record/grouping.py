"""Appends that wait for the same disk go together: one transaction, one commit, for all that came meanwhile.

A commit waits for the disk, and appends are one after another. Without this a disk that hesitates for a moment is paid
for by everybody behind it, one full wait each. Only appends of events alone are joined: theirs is a single insert.
"""

from collections import deque
from collections.abc import Callable, Sequence

from chassis.record.mapper import RecordedEvent
from contracts.errors import UNAVAILABLE, PlatformError

EVENTS_AT_ONCE = 256


class Append:
    """Events that wait to be appended, until a moment (of `time.monotonic`). `has_begun`: they are on their way."""

    def __init__(self, events: Sequence[RecordedEvent], until: float) -> None:
        self.events = events
        self.until = until
        self.has_begun = False
        self.is_abandoned = False
        self.is_done = False
        self.failure: Exception | None = None


class GroupedAppends:
    """The queue of appends. `put` writes events, all or none, by a moment; it is called from one thread at a time."""

    def __init__(self, put: Callable[[Sequence[RecordedEvent], float], object]) -> None:
        self._put = put
        self._waiting: deque[Append] = deque()

    def add(self, events: Sequence[RecordedEvent], until: float) -> Append:
        """Queue events; `write` follows, in a thread."""
        append = Append(events, until)
        self._waiting.append(append)
        return append

    def write(self, own: Append) -> None:
        """Write an append and what waits behind it, unless it was written with one before. Raises what became of it."""
        if not own.is_done and not own.is_abandoned:
            self._write_together(self._take())
        if own.failure is not None:
            raise own.failure

    def _take(self) -> list[Append]:
        taken: list[Append] = []
        count = 0
        while self._waiting and (not taken or count + len(self._waiting[0].events) <= EVENTS_AT_ONCE):
            append = self._waiting.popleft()
            # Said before it is asked whether anybody still waits: who goes away meanwhile sees one of the two.
            append.has_begun = True
            if not append.is_abandoned:
                taken.append(append)
                count += len(append.events)
        return taken

    def _write_together(self, appends: Sequence[Append]) -> None:
        if not appends:
            return
        try:
            self._put([event for append in appends for event in append.events], max(each.until for each in appends))
        except Exception as error:  # noqa: BLE001  # it is told to whom it concerns
            if len(appends) > 1 and not (isinstance(error, PlatformError) and error.code is UNAVAILABLE):
                # One of them cannot be written, and nothing was: each by itself.
                for append in appends:
                    self._write_together([append])
                return
            for append in appends:
                append.failure = error
        for append in appends:
            append.is_done = True
