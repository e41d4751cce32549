"""One budget of buffers for all that a process backs up at once.

Promise: buffers lent and kept never exceed the budget. A `MemoryShare` that was admitted gets its least whatever the
others hold; beyond that, of the shares that wait the one that holds least comes first. `headroom` stays free of
what is lent beyond the least, so that a newcomer seldom waits for others to give back.
Shares are admitted in the order of arrival: who needs little passes nobody who waits. What stays idle meanwhile is less
than the first one needs. What was admitted depends on no one who waits, so that each comes to its turn.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from repository.errors import LimitExceeded
from repository.stored.buffers import WAIT_SECONDS, Memory, new_memory


class MemoryBudget:
    """So many bytes, lent to shares. Thread-safe."""

    def __init__(self, total: int, *, headroom: int = 0) -> None:
        self.total = total
        self._headroom = headroom
        self._changed = threading.Condition()
        self._shares: set[MemoryShare] = set()
        self._waiting: dict[MemoryShare, int] = {}
        self._line: deque[Arrival] = deque()
        self._kept: list[Memory] = []
        self._kept_bytes = 0

    @contextmanager
    def arrival(self) -> Iterator[Arrival]:
        """A place behind all who wait now. It is left with the context, admitted or not."""
        arrival = Arrival()
        with self._changed:
            self._line.append(arrival)
        try:
            yield arrival
        finally:
            self._leave_line(arrival)

    def try_admit(self, shares: Sequence[MemoryShare], arrival: Arrival | None = None) -> bool:
        """Admit all of these, or none while their least is not free or somebody has waited for longer.

        `arrival`: since when they wait; without one they came just now. Raises `LimitExceeded` where it can never be.
        """
        needed = sum(share.least for share in shares)
        if needed > self.total:
            raise too_small(self.total, needed)
        with self._changed:
            if self._line and self._line[0] is not arrival:
                return False
            if arrival is not None:
                # Another one's group may have begun or ended since it last asked.
                arrival.needed = needed
            if self._promised() + needed > self.total:
                return False
            self._shares.update(shares)
        if arrival is not None:
            self._leave_line(arrival)
        return True

    def _leave_line(self, arrival: Arrival) -> None:
        with self._changed:
            if arrival in self._line:
                self._line.remove(arrival)
                self._changed.notify_all()

    def refuse_hopeless(self, share: MemoryShare, length: int) -> None:
        """Raise `LimitExceeded` where a buffer of this length is beyond what the share can ever have."""
        if length > max(share.least, self.total - self._headroom):
            raise too_small(self.total, length + self._headroom)

    def wait(self, seconds: float = WAIT_SECONDS) -> None:
        """Return when something was given back, or after so long."""
        with self._changed:
            self._changed.wait(seconds)

    @property
    def bytes_lent(self) -> int:
        """Bytes of buffers that are lent now."""
        with self._changed:
            return sum(share.held for share in self._shares)

    def acquire(self, share: MemoryShare, length: int, on_waiting: Callable[[float], None] | None) -> Memory:
        """See `MemoryShare.acquire`."""
        while True:
            started = time.monotonic()
            with self._changed:
                if share.error is not None:
                    raise share.error
                if self._may_have(share, length):
                    share.held += length
                    return self._buffer(length)
                self._waiting[share] = self._waiting.get(share, 0) + 1
                try:
                    self._changed.wait(WAIT_SECONDS)
                finally:
                    self._waiting[share] -= 1
                    if not self._waiting[share]:
                        del self._waiting[share]
            if on_waiting is not None:
                on_waiting(time.monotonic() - started)

    def release(self, share: MemoryShare, buffer: Memory) -> None:
        """See `MemoryShare.release`."""
        length = len(buffer)
        with self._changed:
            share.held -= length
            if self._shares and not share.is_closed:
                self._kept.append(buffer)
                self._kept_bytes += length
            self._forget_closed(share)
            self._changed.notify_all()

    def fail(self, share: MemoryShare, error: BaseException) -> None:
        """See `MemoryShare.fail`."""
        with self._changed:
            share.error = share.error or error
            self._changed.notify_all()

    def close(self, share: MemoryShare) -> None:
        """See `MemoryShare.close`."""
        with self._changed:
            share.is_closed = True
            share.least = 0
            self._forget_closed(share)
            self._changed.notify_all()

    def _forget_closed(self, share: MemoryShare) -> None:
        if share.is_closed and not share.held:
            self._shares.discard(share)
        if not self._shares:
            # A process at rest holds nothing; buffers would stay until somebody needs them again, hours later perhaps.
            self._kept.clear()
            self._kept_bytes = 0

    def _promised(self) -> int:
        return sum(max(share.held, share.least) for share in self._shares)

    def _may_have(self, share: MemoryShare, length: int) -> bool:
        grown = share.held + length
        if grown <= share.least:
            return True
        if any(other.held < share.held for other in self._waiting if other is not share):
            return False
        more = grown - max(share.held, share.least)
        return self._promised() + more <= self.total - max(self._headroom, self._kept_for_first(share, length))

    def _kept_for_first(self, share: MemoryShare, length: int) -> int:
        """Bytes that are not lent since the first in line lacks nothing else: it would wait for a lucky moment.

        While it waits for others to end in any case, lending goes on. A share whose least is not one buffer depends on
        what is lent, and the first in line perhaps on its end.
        """
        if not self._line or length > share.least:
            return 0
        needed = self._line[0].needed
        return needed if sum(each.least for each in self._shares) + needed <= self.total else 0

    def _buffer(self, length: int) -> Memory:
        """One that was used before, or a new one in the place of others that were kept."""
        for number in range(len(self._kept) - 1, -1, -1):
            if len(self._kept[number]) == length:
                self._kept_bytes -= length
                return self._kept.pop(number)
        lent = sum(share.held for share in self._shares)
        while self._kept and lent + self._kept_bytes > self.total:
            self._kept_bytes -= len(self._kept.pop(0))
        return new_memory(length)


def too_small(budget: int, needed: int) -> LimitExceeded:
    """The error of a budget (bytes) with which nothing ever goes on: it is told before anybody waits."""
    hint = f"Give the backup at least {-(-needed >> 20)} MiB of memory."
    return LimitExceeded("memory budget is too small", hint=hint, budget=budget, needed=needed)


class Arrival:
    """Somebody's place in the order of arrival. `needed`: bytes that it last asked for, once it is the first."""

    def __init__(self) -> None:
        self.needed = 0


class MemoryShare:
    """What one user of the budget may have. `least`: bytes that it always gets once it was admitted."""

    def __init__(self, budget: MemoryBudget, least: int) -> None:
        self._budget = budget
        self.least = least
        self.held = 0
        self.error: BaseException | None = None
        self.is_closed = False

    def pool(self, length: int, on_waiting: Callable[[float], None] | None = None) -> SharePool:
        """Buffers of this length from the share. `on_waiting` gets, about twice a second, for how long was waited.

        Raises `LimitExceeded` where the share never gets one, not even when nobody else has anything.
        """
        self._budget.refuse_hopeless(self, length)
        return SharePool(self._budget, self, length, on_waiting)

    def fail(self, error: BaseException) -> None:
        """End all waiting of this share, now and later, with this error."""
        self._budget.fail(self, error)

    def close(self) -> None:
        """Nothing more is needed; what is still lent goes when it is given back."""
        self._budget.close(self)


class SharePool:
    """A `BufferPool` of equal buffers from a share."""

    def __init__(
        self, budget: MemoryBudget, share: MemoryShare, length: int, on_waiting: Callable[[float], None] | None
    ) -> None:
        self._budget = budget
        self._share = share
        self._length = length
        self._on_waiting = on_waiting

    @property
    def length(self) -> int:
        """Bytes of each buffer."""
        return self._length

    def acquire(self) -> Memory:
        """A buffer, at once or when it may be had. Raises the error that the share failed with."""
        return self._budget.acquire(self._share, self._length, self._on_waiting)

    def release(self, buffer: Memory) -> None:
        """Give a buffer back."""
        self._budget.release(self._share, buffer)

    def fail(self, error: BaseException) -> None:
        """As `MemoryShare.fail`."""
        self._share.fail(error)
