"""What the stream of a followed database holds: parts of batches, each an append of its own.

A batch is all that a slot told at one time: messages of `pgoutput` in the order of their commits, and behind them what
is true then. A batch that was begun again (`begins`) makes what was open void: whoever died before a batch's end tells
all of it once more, and a transaction that comes twice has the same position both times.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from repository.errors import Damaged
from sources.postgres.following.visibility import Snapshot, snapshot_of

FORMAT: Final = 1
PART_MAX: Final = 4 << 20
"""Bytes of messages, beyond which a part ends."""


class Followed(msgspec.Struct, frozen=True, array_like=True):
    """A table that is followed. `node`: the file of its rows. `since`: all that this snapshot does not see is told."""

    oid: int
    node: int
    since: str


class LeftOut(msgspec.Struct, frozen=True, array_like=True):
    """A table that a restore reaches only as its last dump has it."""

    name: str
    why: str


class State(msgspec.Struct, frozen=True):
    """What is true behind a batch.

    `life`: of which slot: a new one does not tell what happened before. `position`: of the log; all that was committed
    before it is in the stream. `time_us`: so is all that was committed until then, since 1970. `tables`, `left_out`:
    None where they are as they were. `is_gap`: the life has ended, and what was committed behind it is not told.
    """

    life: str
    system: str
    snapshot: str
    position: int
    time_us: int
    tables: tuple[Followed, ...] | None = None
    left_out: tuple[LeftOut, ...] | None = None
    is_gap: bool = False


class Part(msgspec.Struct, frozen=True):
    """One append. `state`: behind the last part of a batch. `is_cut`: the last message goes on in the next part."""

    begins: bool
    messages: list[bytes]
    state: State | None = None
    is_cut: bool = False
    format: int = FORMAT


_DECODER: Final = msgspec.msgpack.Decoder(Part)
encoded: Final = msgspec.msgpack.Encoder().encode


def stream_name(label: str) -> str:
    """The stream of what is labelled so in snapshots."""
    return f"changes of {label}"


def part_of(body: bytes) -> Part:
    """Raises `Damaged` for what is none, or of a newer version."""
    try:
        part = _DECODER.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged("what a database's stream holds cannot be understood") from error
    if part.format > FORMAT:
        raise Damaged("a database's stream is of a newer version", hint="Restore it with the newest version.")
    return part


class Life(msgspec.Struct):
    """What one slot told without a gap: from `first` to `last`."""

    first: State
    last: State
    tables: tuple[Followed, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def carries(self, moment: Snapshot, system: str) -> bool:
        """Whether all that a dump of that moment does not see, and that was committed since, is told in it."""
        return system == self.first.system and moment.sees_all_of(snapshot_of(self.first.snapshot))


def lives_of(parts: Iterable[Part]) -> list[Life]:
    """The lives of a stream, in order."""
    lives: list[Life] = []
    for part in parts:
        state = part.state
        if state is None:
            continue
        if not lives or lives[-1].first.life != state.life:
            lives.append(Life(state, state))
        life = lives[-1]
        life.last = state
        life.tables = life.tables if state.tables is None else state.tables
        life.left_out = life.left_out if state.left_out is None else state.left_out
    return lives


def messages_of(parts: Iterable[Part]) -> Iterator[bytes | State | None]:
    """The messages of parts, whole; states where batches end; None where what is open is void."""
    held = b""
    for part in parts:
        if part.begins:
            held = b""
            yield None
        for number, message in enumerate(part.messages, 1):
            held += message
            if number == len(part.messages) and part.is_cut:
                break
            yield held
            held = b""
        if part.state is not None:
            yield part.state


def parts_from(messages: Iterable[bytes], state: Callable[[], State]) -> Iterator[Part]:
    """A batch in parts; `state` is asked for when all messages were taken."""
    held: list[bytes] = []
    size, begins = 0, True
    for message in messages:
        at = 0
        while size + len(message) - at > PART_MAX:
            cut = message[at : at + PART_MAX - size]
            at += len(cut)
            yield Part(begins, [*held, cut], is_cut=True)
            held, size, begins = [], 0, False
        held.append(message[at:])
        size += len(message) - at
    yield Part(begins, held, state())
