"""A stream's copy on one tier, as its writer keeps it: appended to, brought level, said in the tier's log.

Promise: what fails on one tier is that tier's error and no other's; a tier that failed is asked again, the later the
more often it failed, counted in appends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from repository.errors import AlreadyExists, Damaged, InvalidKey, NoUsableTier, RepositoryError
from repository.keys import crypto
from repository.log.state import LogState
from repository.opened import key_change, locking
from repository.opened.open_tiers import OpenTiers
from repository.ports import Clock
from repository.stored.log_entry import Body, StreamAppended
from repository.streams.on_tier import StreamHead, TierStream, whole_piece
from repository.streams.survey import forked

TOPPED_UP: Final = 3
"""Pieces that a tier which is behind is brought with each append, at most."""
SKIPPED_MAX: Final = 64
"""Appends after which a tier that failed again and again is asked again, at most."""


class Copy:
    """The stream on one tier. `error`: why it cannot be written to now. `head`: how far it reaches there."""

    def __init__(self, repository: OpenTiers, stream: TierStream, lock_days: int) -> None:
        self.stream = stream
        self.head = stream.beginning
        self.error: RepositoryError | None = None
        self._repository = repository
        self._lock_days = lock_days
        self._failures = 0
        self._skip = 0
        self._job: threading.Thread | None = None
        self._dates: list[datetime | None] = []
        """Until when each piece was locked that the log does not speak of yet."""

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.stream.tier.name

    @property
    def said(self) -> int:
        """The number up to which the tier's log speaks of the stream."""
        said = self.stream.said
        return said.number if said is not None else 0

    def fail(self, error: RepositoryError) -> None:
        """The tier is left alone for some appends."""
        self.error = error
        self._failures += 1
        self._skip = min(1 << min(self._failures, 16), SKIPPED_MAX) - 1

    @property
    def is_busy(self) -> bool:
        """Whether the tier still works at what it was asked for."""
        return self._job is not None and self._job.is_alive()

    def start(self, call: Callable[[], None]) -> None:
        """As `attempt`, on a thread of its own; a tier that hangs holds up nobody who does not `wait`."""
        self._job = threading.Thread(
            target=self.attempt, args=(call,), name=f"stream-{self.name}-{self.stream.name}", daemon=True
        )
        self._job.start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the tier has done what it was asked for, at most so long."""
        if self._job is not None:
            self._job.join(seconds)

    def attempt(self, call: Callable[[], None]) -> None:
        """Do something; what it raises is this tier's error."""
        try:
            call()
        except RepositoryError as error:
            self.fail(error)

    def is_due(self) -> bool:
        """Whether a tier that failed is to be asked again."""
        self._skip -= self._skip > 0
        return not self._skip

    def prepare(self) -> None:
        """See that the tier can be written to, before anything is. Raises why not."""
        tier = self.stream.tier
        tier.refresh()
        if not tier.is_ready:
            raise NoUsableTier.because("tier is not ready", [tier.error], tier=tier.name, state=tier.state.value)
        if key_change.owes_keys(self._repository, tier):
            key_change.copy_keys(self._repository, tier)
        until = locking.lock_date(tier.store, self._lock_days)
        if until is not None:
            tier.prove_locks(until)

    def look_again(self, newest: StreamHead) -> None:
        """See what became of the tier. Raises what is wrong with it still, `StreamForked`."""
        self.prepare()
        head = self.stream.head()
        if head.number > newest.number or (head.number == newest.number and head.digest != newest.digest):
            raise forked(self.stream, head.number, head.end, "the others")
        self.take_over(head)
        self.error, self._failures = None, 0

    def pursue(self, sources: Sequence[TierStream], newest: StreamHead) -> None:
        """See whether a tier that failed is back, and bring it some of what it lacks."""
        if self.error is not None:
            self.look_again(newest)
        if self.head != newest and sources:
            self.top_up(sources, newest)

    def take_over(self, head: StreamHead) -> None:
        """Go on behind what was found here, which is relied on from now on.

        Before its first piece a tier's log names the stream.
        """
        self.stream.settle(head)
        if self.stream.said is None:
            self.say(self.stream.beginning)
        self.head = head

    def create(self, body: bytes, number: int) -> None:
        """Create a piece where there is none. Raises `AlreadyExists` and the store's errors."""
        store, key = self.stream.tier.store, self.stream.key(number)
        until = locking.lock_date(store, self._lock_days)
        try:
            store.put(key, body, sha256=crypto.sha256(body), if_absent=True, lock_until=until)
        except InvalidKey as error:
            message = "something that is no piece lies where the next one belongs"
            raise Damaged(message, tier=self.name, object_key=key) from error
        self._dates.append(until)

    def take(self, body: bytes, head: StreamHead) -> None:
        """Create what was decided elsewhere. Raises `StreamForked` where another piece is there."""
        try:
            self.create(body, head.number)
        except AlreadyExists:
            self.stream.read(head.number)
            raise forked(self.stream, head.number, self.head.end, "the others") from None
        self.head = head

    def top_up(self, sources: Sequence[TierStream], newest: StreamHead) -> None:
        """Bring the tier some of what it lacks, in order.

        Raises `StreamForked`, `StreamGap`, `NoUsableTier` (no source answers), the store's errors.
        """
        for number in range(self.head.number + 1, min(self.head.number + TOPPED_UP, newest.number) + 1):
            piece, body = whole_piece(sources, number)
            if piece.previous != self.head.digest:
                raise forked(self.stream, self.head.number, self.head.end, sources[0].tier.name)
            self.take(body, StreamHead(number, piece.digest, piece.end))

    def say(self, head: StreamHead) -> None:
        """Let the tier's log say that it has the stream up to here."""
        dates = [date for date in self._dates if date is not None]
        until = min(dates) if dates and len(dates) == len(self._dates) else None
        if until is not None:
            locking.expect_locked(self.stream.tier.store, self.stream.key(head.number))
        say_on(self.stream, head, self._repository.clock, locked=len(self._dates), until=until)
        self._dates.clear()


def say_on(
    stream: TierStream,
    head: StreamHead,
    clock: Clock,
    *,
    locked: int = 0,
    until: datetime | None = None,
    goes_back: bool = False,
) -> None:
    """Let a tier's log say that the tier has the stream up to here, durably, unless it says as much or more.

    `locked`: how many of the last pieces are locked until `until`. `goes_back`: what it said before was given up.
    Raises what `CommitLog.append` raises.
    """
    stream.settle(head)

    def decide(state: LogState) -> Body | None:
        said = state.streams.get(stream.name)
        if said is not None and said.number >= head.number and not goes_back:
            return None
        return StreamAppended(
            time_ns=clock.now_ns(),
            stream=stream.name,
            number=head.number,
            position=head.end,
            digest=head.digest.hex(),
            first=said.first if said is not None else 1,
            locked_from=head.number - locked + 1,
            locked_until=None if until is None else int(until.timestamp()),
        )

    stream.tier.log.append(decide, lock_until=until)
    stream.tier.leave_checkpoint(until)
