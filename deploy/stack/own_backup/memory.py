"""What a home remembers of its own backup: `recovery.json`, beside `layout.json`.

It is saved with the keys and lists, after the record: who brings a home back learns from it which snapshot of the
record belongs to these keys, and up to which event of each service that is whole. So it is written before the home is
saved, and `whole_at` only once both are.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout

NAME = "recovery.json"


class Position(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Up to where the record of a service goes. `log`: its incarnation. `last`: 0 where it has no event."""

    service: str
    log: str
    last: int
    event: str | None = None
    recorded: datetime | None = None

    def in_words(self) -> str:
        """For people."""
        if self.event is None:
            return f"{self.service}: no event"
        return f"{self.service}: up to event {self.last} ({self.event}), recorded {self.recorded:%Y-%m-%d %H:%M:%S} UTC"


class SavedRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A snapshot of the record. It holds at least what `positions` says: they were read before it began."""

    snapshot: str
    saved: datetime
    positions: list[Position]


class WrittenKit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recovery kit that was written. `digest`: of what it holds, to see when another one is needed."""

    folder: str
    written: datetime
    digest: str


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last time that a kit and one tier gave a home back, whose record was started and read."""

    rehearsed: datetime
    tier: str
    seconds: float
    positions: list[Position]


class Trouble(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why the last attempt to save failed, or was less than whole."""

    at: datetime
    words: str


class Memory(msgspec.Struct, kw_only=True, rename="camel"):
    """All of it. `tiers`: those that an operator has named; none: the home's choice (`places`). `key`: its public id.

    `whole_at`: when record and home were both saved last; `on`: on which tiers. `trouble`: since then. `tidied_at`:
    when old snapshots were let go last; at the first save there are none.
    """

    tiers: list[str] = []
    key: str | None = None
    is_begun: bool = False
    record: SavedRecord | None = None
    whole_at: datetime | None = None
    on: list[str] = []
    trouble: Trouble | None = None
    tidied_at: datetime | None = None
    kit: WrittenKit | None = None
    rehearsal: Rehearsal | None = None


_MEMORY = msgspec.json.Decoder(Memory)


def read_memory(home: Path) -> Memory:
    """What is remembered; nothing, where nothing was ever saved. Raises HOME_UNUSABLE where it cannot be read."""
    path = home / NAME
    try:
        return _MEMORY.decode(path.read_bytes())
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{path} cannot be read: {misread(error)}",
            hint="Move it aside, then: wedsync-backup self-backup kit. What was saved stays on the tiers; this file "
            "alone remembers when that was.",
        ) from error


@contextmanager
def changed(layout: Layout) -> Iterator[Memory]:
    """What is remembered, for a change that is kept durably at the end; not where that ends with an error.

    Who saves for minutes and who writes a kit meanwhile lose nothing of each other's. Raises HOME_UNUSABLE, OSError.
    """
    descriptor = os.open(layout.run / "recovery.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        memory = read_memory(layout.home)
        yield memory
        write_atomically(layout.home / NAME, msgspec.json.format(msgspec.json.encode(memory), indent=2))
    finally:
        os.close(descriptor)
