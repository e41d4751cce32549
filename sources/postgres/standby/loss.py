"""What a standby does not have of its primary's log, in transactions.

Promise: each commit in the log beyond what the standby has received is counted, and nothing else; where the log is not
to be had, nobody says a number. It comes from the primary while that answers, or from its data folder when it is off.
"""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from sources.postgres.physical.connection import ServerSaid
from sources.postgres.physical.record import shown_position
from sources.postgres.physical.wal import PAGE, LogReader
from sources.postgres.standby.server import Server, State

_BEFORE: Final = 1 << 20
"""Read before the position, too: a commit that begins there may end behind it."""
_PAGE_HEADER: Final = struct.Struct("<HHIQ")


class Loss(msgspec.Struct, frozen=True):
    """What would be lost: `transactions` that were committed, in so many bytes. `last_us`: of the last, since 1970."""

    transactions: int
    bytes: int
    last_us: int | None


def loss_of(primary: Server, standby: State, *, seconds: float = 60.0) -> Loss:
    """What the primary has, and the standby has not. Raises `SourceUnreachable`; the primary's log may have gone on.

    Exact of a fenced primary: nothing is added behind its end.
    """
    state = primary.look()
    if state.written <= standby.written:
        return Loss(0, 0, None)
    begin = _begin(standby)
    session = primary.connect(is_replication=True)
    try:
        session.stream(f"START_REPLICATION PHYSICAL {shown_position(begin)} TIMELINE {state.timeline}")

        def pieces() -> Iterator[bytes]:
            at, until = begin, time.monotonic() + seconds
            while at < state.written:
                message = session.next()
                if message is None or time.monotonic() > until:
                    raise ServerSaid("", "the log of the primary does not come to its end")
                if not message:
                    session.wait(0.2)
                elif message[:1] == b"w":
                    yield message[25:]
                    at += len(message) - 25

        return _counted(pieces(), begin, standby)
    except ServerSaid as said:
        raise session.trouble(said, "does not give its log") from said
    finally:
        session.close()


def loss_in(folder: Path, standby: State) -> Loss:
    """What the data folder of a primary that is off has, and the standby has not. Raises `OSError` and `Damaged`."""
    if (folder / "postmaster.pid").exists() and _is_running(folder):
        raise OSError(0, "a server runs on the folder: ask it")
    begin = _begin(standby)

    def pieces() -> Iterator[bytes]:
        at = begin
        while True:
            number = at // standby.segment
            ids = (1 << 32) // standby.segment
            path = folder / "pg_wal" / f"{standby.timeline:08X}{number // ids:08X}{number % ids:08X}"
            if at > begin and not path.exists():
                return
            with path.open("rb") as file:
                file.seek(at % standby.segment)
                while page := file.read(PAGE):
                    # A segment that is used again has the pages of before: the log ends there.
                    if len(page) < PAGE or _PAGE_HEADER.unpack_from(page)[3] != at:
                        return
                    yield page
                    at += PAGE

    return _counted(pieces(), begin, standby)


def _begin(standby: State) -> int:
    if not standby.is_settled:
        raise ValueError("how far the standby reaches is not known yet: ask `settled`")
    floor = standby.written // standby.segment * standby.segment
    return max(floor, (standby.written - _BEFORE) // PAGE * PAGE)


def _counted(pieces: Iterator[bytes], begin: int, standby: State) -> Loss:
    reader = LogReader(begin, standby.segment)
    count, last = 0, None
    for piece in pieces:
        for found in reader.take(piece):
            if found.name is None and found.end > standby.written:
                count, last = count + 1, found.time_us
    return Loss(count, max(reader.end - standby.written, 0), last)


def _is_running(folder: Path) -> bool:
    try:
        os.kill(int((folder / "postmaster.pid").read_text().split("\n", 1)[0]), 0)
    except (ValueError, OSError):
        return False
    return True
