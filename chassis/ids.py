"""Identifiers: UUIDv7 (RFC 9562) as lower-case text with dashes, in the order of their making.

Layout: 48 bits Unix milliseconds, version 7, 12 bits counter, variant 2, 62 random bits. Within a
process ids rise strictly, also when the clock stands still or jumps back (RFC 9562, section 6.2,
method 1); between processes they are ordered by the millisecond, as far as the clocks agree.
"""

import hashlib
import os
import re
import threading
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from chassis.clock import Clock, SystemClock

_SHAPE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_COUNTER_LIMIT = 1 << 12


class Ids(Protocol):
    """Makes identifiers."""

    def new(self) -> str:
        """An id that nobody has had before, greater than all that this source has given."""
        ...


class TimeOrderedIds:
    """UUIDv7 from a clock and the operating system's random numbers. Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._millisecond = 0
        self._counter = 0

    def new(self) -> str:
        """An id that nobody has had before, greater than all that this source has given."""
        now = int(self._clock.now().timestamp() * 1000)
        with self._lock:
            if now > self._millisecond:
                self._millisecond = now
                # Half of the counter's range is left free, so that it seldom overflows within a millisecond.
                self._counter = int.from_bytes(os.urandom(2), "big") % (_COUNTER_LIMIT // 2)
            else:
                self._counter += 1
                if self._counter == _COUNTER_LIMIT:
                    self._millisecond += 1
                    self._counter = 0
            millisecond, counter = self._millisecond, self._counter
        tail = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
        return str(UUID(int=millisecond << 80 | 7 << 76 | counter << 64 | 2 << 62 | tail))


_DEFAULT = TimeOrderedIds()


def new_id() -> str:
    """An id from the process's own source."""
    return _DEFAULT.new()


def derived_id(moment: datetime, *parts: str) -> str:
    """The id of what is one thing by a moment and some texts: the same again for the same ones, and no other's."""
    digest = hashlib.sha256("\0".join((moment.isoformat(), *parts)).encode()).digest()
    millisecond = int(moment.timestamp() * 1000)
    counter, tail = int.from_bytes(digest[:2]) % _COUNTER_LIMIT, int.from_bytes(digest[2:10]) & ((1 << 62) - 1)
    return str(UUID(int=millisecond << 80 | 7 << 76 | counter << 64 | 2 << 62 | tail))


def moment_of(id: str) -> datetime:  # noqa: A002  # that is what it is
    """When an id was made, or the moment of what it was derived from; to the millisecond. Of `is_id` alone."""
    return datetime.fromtimestamp((UUID(id).int >> 80) / 1000, UTC)


def is_id(text: str) -> bool:
    """Whether a text has the one form that ids have: a UUIDv7 in lower case with dashes."""
    return _SHAPE.fullmatch(text) is not None
