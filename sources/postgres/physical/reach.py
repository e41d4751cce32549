"""How far a restore of a cluster goes: what can be reached from a base backup, and where the log ends for that.

Promise: a place is reached exactly: the log that a server gets ends behind the last record that belongs to it, so that
it plays all of it and nothing else. What cannot be reached is refused, with what can be.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from repository.errors import RestoreRefused
from repository.opened.repository import Repository
from repository.streams.errors import StreamNotFound
from repository.streams.reading import read_stream
from sources.postgres.following.replay import shown_time
from sources.postgres.physical.record import Base, Received, received, shown_position, stream_name
from sources.postgres.physical.wal import Found, LogReader

_XID_BITS: Final = 0xFFFFFFFF


class Wanted(NamedTuple):
    """One of these, or none for all that is known. `time_us` since 1970; `position` of the log: all before it."""

    time_us: int | None = None
    position: int | None = None
    xid: int | None = None
    name: str | None = None


class Reach(NamedTuple):
    """Where the log ends. `begin`: of the segment from which on it is laid out. `at`: where the stream has that.

    `transactions`, `last`: committed behind the base backup, before the end. `known_us`: until when all is known.
    `base_us`: when the base backup ended. `is_gap`: more was committed, and the log of it was not received.
    """

    life: str
    begin: int
    at: int
    end: int
    transactions: int
    last: Found | None
    known_us: int
    base_us: int
    is_gap: bool

    def told(self) -> dict[str, object]:
        """What was reached, for a machine."""
        last = self.last
        return {
            "lsn": shown_position(self.end),
            "transactions": self.transactions,
            "last_commit_time": shown_time(last.time_us) if last is not None else None,
            "last_commit_xid": last.xid if last is not None else None,
            "known_until": shown_time(self.known_us) if self.known_us else None,
            "gap_since": shown_time(max(self.known_us, self.base_us)) if self.is_gap else None,
        }


class _Life:
    """What one life of the stream holds."""

    def __init__(self, first: Received, at: int) -> None:
        self.first = first
        self.last = first
        self.at = at
        """Where in the stream the part is from which on it is read."""


def reach(repository: Repository, label: str, base: Base, wanted: Wanted, *, check: Callable[[], None]) -> Reach:
    """Where it is. Raises `RestoreRefused`, and what keeps the stream from being read."""
    begin = base.stop // base.segment * base.segment
    lives: list[_Life] = []
    for part, position in parts_of(repository, label):
        check()
        if not lives or lives[-1].first.life != part.life:
            lives.append(_Life(part, position))
        if part.start <= begin:
            lives[-1].at = position
        lives[-1].last = part
    leading = [each for each in lives if each.first.carries(base) and each.last.end >= base.stop]
    if not leading:
        raise RestoreRefused(
            "the log behind the base backup was not received",
            hint="Its cluster was not followed then (repo follow postgres-cluster://…), or there was a gap: choose a "
            "later snapshot, or restore this one as it is, without saying how far.",
        )
    life = leading[-1]
    is_gap = life.last.is_gap or life is not lives[-1]
    return _Search(repository, label, base, wanted, life, begin, is_gap).run(check)


def parts_of(repository: Repository, label: str, at: int | None = None) -> Iterator[tuple[Received, int]]:
    """What the stream holds from a position of its own on, and where each part lies; nothing where there is none."""
    try:
        for piece in read_stream(repository, stream_name(label), at):
            yield received(piece.data), piece.position
    except StreamNotFound:
        return


class _Search:
    """One search for the end."""

    def __init__(
        self, repository: Repository, label: str, base: Base, wanted: Wanted, life: _Life, begin: int, is_gap: bool
    ) -> None:
        self._parts = parts_of(repository, label, life.at)
        self._base = base
        self._wanted = wanted
        self._life = life
        self._begin = begin
        self._is_gap = is_gap
        self._is_behind = False
        """Whether a point of the name that is wanted lies before what the snapshot reaches anyway."""
        self._transactions = 0
        self._last: Found | None = None

    def run(self, check: Callable[[], None]) -> Reach:
        """Raises `RestoreRefused`."""
        self._refuse_beyond()
        reader = LogReader(self._begin, self._base.segment)
        end = None
        for part, _ in self._parts:
            check()
            if part.life != self._life.first.life:
                break
            skipped = max(self._begin - part.start, 0)
            for found in reader.take(part.data[skipped:]):
                if (end := self._end_at(found)) is not None:
                    break
                self._count(found)
            if end is not None:
                break
        if end is None:
            end = self._end_of_all(reader.end)
        if end < self._base.stop:
            self._refuse("the snapshot reaches further than that already")
        last = self._life.last
        return Reach(
            self._life.first.life, self._begin, self._life.at, end, self._transactions, self._last, last.known_us,
            self._base.ended_us, self._is_gap,
        )  # fmt: skip

    def _refuse_beyond(self) -> None:
        """What can be judged without looking at the log."""
        time_us, position, last = self._wanted.time_us, self._wanted.position, self._life.last
        if time_us is not None and time_us < self._base.ended_us:
            self._refuse("the snapshot is younger than the time")
        if time_us is not None and time_us > last.known_us:
            self._refuse("the time is not reached")
        if position is not None and position < self._base.stop:
            self._refuse("the snapshot reaches further than that already")
        if position is not None and position > last.end:
            self._refuse("the position is not reached")

    def _count(self, found: Found) -> None:
        if found.name is None and found.start >= self._base.stop:
            self._transactions += 1
            self._last = found

    def _end_at(self, found: Found) -> int | None:
        """Where the log ends, if it is with this record."""
        wanted = self._wanted
        if wanted.time_us is not None and found.name is None and found.time_us > wanted.time_us:
            return found.start
        if wanted.position is not None and found.end > wanted.position:
            return wanted.position
        is_it = (wanted.xid is not None and found.name is None and found.xid == wanted.xid & _XID_BITS) or (
            wanted.name is not None and found.name == wanted.name
        )
        if not is_it:
            return None
        if wanted.name is not None and found.end < self._base.stop:
            self._is_behind = True  # the name may have been given once more since
            return None
        self._count(found)
        return found.end

    def _end_of_all(self, end: int) -> int:
        if self._wanted.xid is not None:
            self._refuse("no commit of this transaction is in the log")
        if self._wanted.name is not None and self._is_behind:
            self._refuse("the snapshot reaches further than that already")
        if self._wanted.name is not None:
            self._refuse("no point of this name is in the log")
        return end if self._wanted.position is None else self._wanted.position

    def _refuse(self, message: str) -> None:
        base, last = self._base, self._life.last
        gap = f" There is a gap since {shown_time(last.known_us)}." if self._is_gap else ""
        raise RestoreRefused(
            message,
            hint=f"From this snapshot on can be reached: {shown_time(base.ended_us)} to {shown_time(last.known_us)}, "
            f"{shown_position(base.stop)} to {shown_position(last.end)}.{gap} Choose another snapshot for what is "
            "earlier; is the cluster followed (repo follow)?",
        )
