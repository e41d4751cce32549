"""What is kept of a cluster beside its pages: what is true of a base backup, as it stands at its entry in the snapshot,
and what the stream of its log holds.

Positions of the log are bytes; as text they are written as Postgres writes them.
"""

from typing import Final

import msgspec

from repository.errors import Damaged, RestoreRefused
from repository.stored.tree import Entry

BASE: Final = b"base.tar"
"""The one file of a cluster's snapshot."""
FORMAT: Final = 1


class Base(msgspec.Struct, frozen=True):
    """What is true of a base backup. `begun_us`, `ended_us`: the server's clock since 1970, before and behind it.

    `damaged`: so many pages or files were told to be damaged. `has_checksums`: without them none can be. `settings`:
    what a server that is restored from it has to have at least as high.
    """

    format: int
    system: str
    server: int
    timeline: int
    start: int
    stop: int
    begun_us: int
    ended_us: int
    segment: int
    has_checksums: bool
    damaged: int
    settings: dict[str, str]


_BASE: Final = msgspec.json.Decoder(Base)


def position_of(text: str | None) -> int:
    """A position of the log as Postgres writes it. Raises `ValueError`."""
    high, slash, low = (text or "").partition("/")
    if not slash:
        raise ValueError("this is no position of the log")
    return int(high, 16) << 32 | int(low, 16)


def shown_position(position: int) -> str:
    """A position of the log as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


class Received(msgspec.Struct, frozen=True):
    """One append to the stream of a cluster's log: what follows on what was appended before, or begins a new life.

    `life`: received without a gap. `since`: where it begins, which is where a segment does. `before_us`: until when
    the life before it is known; 0 where there was none. `start`: of the bytes. `known_us`: all that was committed
    before that time (the server's, since 1970) lies before the end of the bytes. `is_gap`: the life has ended.
    """

    life: str
    system: str
    timeline: int
    segment: int
    since: int
    before_us: int
    start: int
    data: bytes
    known_us: int
    is_gap: bool = False
    format: int = FORMAT

    @property
    def end(self) -> int:
        """The position behind the bytes."""
        return self.start + len(self.data)

    def carries(self, base: Base) -> bool:
        """Whether the life that this belongs to leads on from a base backup."""
        return (self.system, self.timeline) == (base.system, base.timeline) and self.since <= base.stop


_RECEIVED: Final = msgspec.msgpack.Decoder(Received)
encoded: Final = msgspec.msgpack.Encoder().encode


def stream_name(label: str) -> str:
    """The stream of what is labelled so in snapshots."""
    return f"log of {label}"


def received(body: bytes) -> Received:
    """Raises `Damaged` for what is none, or of a newer version."""
    try:
        part = _RECEIVED.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged("what a cluster's stream holds cannot be understood") from error
    if part.format > FORMAT:
        raise Damaged("a cluster's stream is of a newer version", hint="Restore it with the newest version.")
    return part


def base_of(entry: Entry) -> Base:
    """What a base backup says of itself. Raises `Damaged`, `RestoreRefused`."""
    try:
        base = _BASE.decode(entry.extra.attributes.get("base", ""))
    except msgspec.MsgspecError as error:
        raise Damaged("what the base backup says of itself cannot be understood") from error
    if base.format > FORMAT:
        raise RestoreRefused("the base backup is of a newer version", hint="Restore it with the newest version.")
    return base
