"""Appends that wait for the same disk go together: one transaction, one commit, for all that came meanwhile.

A commit waits for the disk, and appends are one after another. Without this a disk that hesitates for a moment is paid
for by everybody behind it, one full wait each, and sixty who ask at one instant wait for sixty commits. What is joined
is written as one save would be: what was handled, then all statements in the order of their saves, then all events in
one insert, whose lock is the last that a transaction takes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eventsourcing.persistence import StoredEvent

from chassis.handling import Handled
from chassis.postgres.database import Unable
from chassis.record.mapper import RecordedEvent
from chassis.record.statements import Statement
from contracts.errors import UNAVAILABLE, PlatformError

AT_ONCE = 256
"""Events and statements of one transaction, where they are of several saves."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is written in one transaction: events, and what becomes true with them."""

    events: Sequence[RecordedEvent] = ()
    handled: Sequence[Handled] = ()
    statements: Sequence[Statement] = ()
    snapshots: Sequence[StoredEvent] = ()

    def __len__(self) -> int:
        return len(self.events) + len(self.handled) + len(self.statements)

    @property
    def is_contended(self) -> bool:
        """See `Statement`."""
        return any(statement.is_contended for statement in self.statements)


class Append:
    """A content that waits to be written, until a moment (of `time.monotonic`). `has_begun`: it is on its way."""

    def __init__(self, content: Content, until: float) -> None:
        self.content = content
        self.until = until
        self.has_begun = False
        self.is_abandoned = False
        self.is_done = False
        self.failure: Exception | None = None


class GroupedAppends:
    """The queue of appends. `put` writes a content, all or none, by a moment; it is called in one thread at a time."""

    def __init__(self, put: Callable[[Content, float], object]) -> None:
        self._put = put
        self._waiting: deque[Append] = deque()

    def add(self, content: Content, until: float) -> Append:
        """Queue a content; `write` follows, in a thread."""
        append = Append(content, until)
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
        count, is_contended = 0, False
        while self._waiting:
            content = self._waiting[0].content
            if taken and (count + len(content) > AT_ONCE or (is_contended and content.is_contended)):
                break
            append = self._waiting.popleft()
            # Said before it is asked whether anybody still waits: who goes away meanwhile sees one of the two.
            append.has_begun = True
            if not append.is_abandoned:
                taken.append(append)
                count, is_contended = count + len(content), is_contended or content.is_contended
        return taken

    def _write_together(self, appends: Sequence[Append]) -> None:
        if not appends:
            return
        try:
            self._put(_joined([each.content for each in appends]), max(each.until for each in appends))
        except Exception as error:  # noqa: BLE001  # it is told to whom it concerns
            if len(appends) > 1 and not _concerns_all(error):
                # One of them cannot be written, and nothing was: each by itself.
                for append in appends:
                    self._write_together([append])
                return
            for append in appends:
                append.failure = error
        for append in appends:
            append.is_done = True


def _joined(contents: Sequence[Content]) -> Content:
    if len(contents) == 1:
        return contents[0]
    return Content(
        events=[event for each in contents for event in each.events],
        handled=[handled for each in contents for handled in each.handled],
        statements=[statement for each in contents for statement in each.statements],
        snapshots=[snapshot for each in contents for snapshot in each.snapshots],
    )


def _concerns_all(error: Exception) -> bool:
    """Whether each by itself would meet the same: a database that is away or full, and no row that somebody holds."""
    if isinstance(error, Unable):
        return error.lasts
    return isinstance(error, PlatformError) and error.code is UNAVAILABLE
