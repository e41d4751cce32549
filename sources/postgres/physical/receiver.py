"""Receives a cluster's log as it is written: it is appended to a stream, and then, and not before, the slot lets go.

Promise: whoever dies at any time, and is begun again, leaves nothing out: the server keeps what no tier has. A log that
the server does not have any more is a gap, which the stream says before a new life of it begins. Segments are not
waited for: what was committed is on the tiers about a second later.
"""

import struct
import time
from collections.abc import Callable
from typing import Final, TypeVar

from repository.backup.source import SourceUnreachable
from repository.errors import Retry
from repository.opened.open_tiers import OpenTiers
from repository.streams.reading import read_stream
from repository.streams.stream import Appended, Stream
from sources.postgres.catalog import literal, quoted
from sources.postgres.database import Database
from sources.postgres.physical.cluster import Look, refuse
from sources.postgres.physical.connection import NO_ANSWER, SILENT_SECONDS, Connection, ServerSaid
from sources.postgres.physical.record import Received, encoded, received, shown_position
from sources.postgres.physical.source import asked
from sources.postgres.physical.wal import PAGE
from sources.postgres.slot_name import slot_name

PART_MAX: Final = 4 << 20
"""Bytes of the log, beyond which a part ends."""
_Answer = TypeVar("_Answer")
_GONE: Final = "58P01"
"""The state of an error: a segment of the log is not there any more."""
_STEP_SECONDS: Final = 0.1
_PAGE_HEADERS: Final = (24, 40)


class Slot:
    """A physical replication slot. Every call raises `SourceUnreachable`. Close it at the end."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = slot_name(name)
        self.database = database
        self._session: Connection | None = None

    def look(self) -> Look:
        """How the server stands."""
        return self._told(asked)

    def kept(self) -> int | None:
        """From where on the server keeps the log for it; None where it does not, or there is none."""
        query = (
            "SELECT slot_type, (restart_lsn - '0/0')::int8, COALESCE(wal_status, '') = 'lost' "  # noqa: S608 - quoted
            f"FROM pg_catalog.pg_replication_slots WHERE slot_name = {literal(self.name)}"
        )
        rows = self._told(lambda session: session.ask(query))
        if not rows:
            return None
        ((kind, kept, is_lost),) = rows
        if kind != "physical":
            hint = "Give another name by --slot."
            raise SourceUnreachable("the slot is somebody else's", hint=hint, retry=Retry.NEVER, reason="slot-foreign")
        return None if kept is None or is_lost == "t" else int(kept)

    def create(self) -> None:
        """A new one in the place of what there may be; the server keeps what it has from now on."""
        self.drop()
        name = literal(self.name)
        self._told(lambda session: session.ask(f"SELECT pg_catalog.pg_create_physical_replication_slot({name}, true)"))

    def drop(self) -> None:
        """The server keeps nothing for it any more."""
        query = (
            "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots "  # noqa: S608
            f"WHERE slot_name = {literal(self.name)}"
        )
        self._told(lambda session: session.ask(query))

    def guard(self, keep_max: int) -> None:
        """Drop it where the server keeps more bytes for it than that. Raises `SourceUnreachable`, which says so."""
        kept = self.kept()
        if kept is None or (kept_bytes := self.look().inserted - kept) <= keep_max:
            return
        self.drop()
        raise SourceUnreachable(
            "the slot was dropped: the server kept more for it than it may",
            hint="What was committed meanwhile is a gap until the next base backup. Look at the tiers; --keep-max says "
            "how much the server may keep.",
            reason="slot-dropped",
            retry=Retry.LATER,
            kept_bytes=kept_bytes,
        )

    def close(self) -> None:
        """End the session. The slot stays."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _told(self, ask: Callable[[Connection], _Answer]) -> _Answer:
        if self._session is None:
            self._session = Connection(self.database)
        try:
            return ask(self._session)
        except ServerSaid as said:
            trouble = self._session.trouble(said, "cannot be followed")
            self.close()
            raise trouble from said


def last_of(repository: OpenTiers, stream: Stream) -> Received | None:
    """The last part of a stream; None where there is none."""
    if not stream.end:
        return None
    (piece,) = read_stream(repository, stream.name, stream.end - 1)
    return received(piece.data)


class Receiver:
    """One cluster, one stream. `wait` sleeps so many seconds, or raises where it is to end."""

    def __init__(
        self,
        slot: Slot,
        stream: Stream,
        *,
        every_seconds: float,
        quiet_seconds: float,
        wait: Callable[[float], None],
    ) -> None:
        self._slot = slot
        self._stream = stream
        self._every = every_seconds
        self._quiet_us = int(quiet_seconds * 1e6)
        self._wait = wait
        self._session: Connection | None = None
        self._state: Received | None = None
        self._mark: tuple[int, int] | None = None
        self._said_us = 0
        self._heard = time.monotonic()
        self._has_asked = False
        self.appended: Appended | None = None

    @property
    def last(self) -> Received:
        """The last part. It is there after `begin`."""
        assert self._state is not None  # noqa: S101 - said above
        return self._state

    def begin(self, last: Received | None) -> Look:
        """Go on where the stream ends, or begin a new life of it. Raises `SourceUnreachable`."""
        look = self._slot.look()
        refuse(look, self._slot.database.login, is_log=True)
        kept = self._slot.kept()
        goes_on = (
            last is not None
            and not last.is_gap
            and (last.system, last.timeline) == (look.system, look.timeline)
            and kept is not None
            and kept <= last.end <= look.inserted
        )
        if goes_on:
            self._state = last
        else:
            self._begin_life(look, last, kept)
        self._said_us = look.clock_us
        self._heard = time.monotonic()
        session = self._session = Connection(self._slot.database, is_replication=True)
        try:
            try:
                self._stream_from(session, look.timeline)
            except ServerSaid as said:
                if not goes_on or said.state != _GONE:
                    raise
                self._begin_life(look, last, None)
                self._stream_from(session, look.timeline)
        except ServerSaid as said:
            raise session.trouble(said, "cannot be followed") from said
        return look

    def _stream_from(self, session: Connection, timeline: int) -> None:
        at = self.last.end
        slot = quoted(self._slot.name)
        session.stream(f"START_REPLICATION SLOT {slot} PHYSICAL {shown_position(at)} TIMELINE {timeline}")
        session.confirm(at)

    def _begin_life(self, look: Look, last: Received | None, kept: int | None) -> None:
        if last is not None:
            if not last.is_gap:
                self._append(self._after(last, b"", last.known_us, is_gap=True))
            # What the slot still keeps was written by another server, or lies behind what is missing.
            kept = None
        if kept is None:
            self._slot.create()
            kept = self._slot.kept()
        if kept is None:
            raise SourceUnreachable("the slot is gone again", reason="slot-lost")
        since = kept // look.segment * look.segment
        life = f"{look.system}:{since:X}:{look.clock_us}"
        before_us = last.known_us if last is not None else 0
        self._append(
            # What was committed before is known when the log is here that was written by then.
            Received(life, look.system, look.timeline, look.segment, since, before_us, since, b"", known_us=0)
        )

    @staticmethod
    def _after(last: Received, data: bytes, known_us: int, *, is_gap: bool = False) -> Received:
        return Received(
            last.life, last.system, last.timeline, last.segment, last.since, last.before_us, last.end, data, known_us,
            is_gap,
        )  # fmt: skip

    def poll(self, *, is_urgent: bool = False) -> int:
        """Take what comes for a while, and append it; how many bytes it was. Raises `SourceUnreachable`, and what
        `append` raises. `is_urgent`: also say how far all is known.
        """
        session, last = self._session, self.last
        assert session is not None  # noqa: S101 - after `begin`
        if self._mark is None:
            look = self._slot.look()
            inside = look.inserted % PAGE
            # Where a page was just begun, nothing of it is written before there is a record.
            self._mark = look.clock_us, look.inserted - (inside if inside in _PAGE_HEADERS else 0)
        try:
            data = self._collected(session, last)
        except ServerSaid as said:
            raise session.trouble(said, "cannot be followed") from said
        known_us, (clock_us, needed) = last.known_us, self._mark
        if last.end + len(data) >= needed:
            known_us, self._mark = max(known_us, clock_us), None
        is_due = known_us > last.known_us and (is_urgent or known_us - self._said_us >= self._quiet_us)
        if data or is_due:
            self._append(self._after(last, data, known_us))
            self._said_us = known_us
            try:
                session.confirm(self.last.end)
            except ServerSaid as said:
                raise session.trouble(said, "cannot be followed") from said
        return len(data)

    def _collected(self, session: Connection, last: Received) -> bytes:
        found = bytearray()
        until = time.monotonic() + self._every
        while len(found) < PART_MAX:
            message = session.next()
            if message:
                self._heard, self._has_asked = time.monotonic(), False
            if message is None:
                session.answer()
                raise ServerSaid("", "the stream of the log has ended")
            if not message:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._wait(0)
                self._refuse_silence(session, last)
                session.wait(min(left, _STEP_SECONDS))
            elif message[:1] == b"w":
                (start,) = struct.unpack_from(">q", message, 1)
                if start != last.end + len(found):
                    raise ServerSaid("", "the log is not told in order")
                found += memoryview(message)[25:]
            elif message[:1] == b"k" and message[17]:
                session.confirm(last.end)
        return bytes(found)

    def _refuse_silence(self, session: Connection, last: Received) -> None:
        """A server that hangs keeps its connections open: it is asked for a sign of life before it is given up."""
        silent = time.monotonic() - self._heard
        if silent > SILENT_SECONDS:
            raise ServerSaid("", NO_ANSWER)
        if silent > SILENT_SECONDS / 2 and not self._has_asked:
            session.confirm(last.end, is_asked=True)
            self._has_asked = True

    def _append(self, part: Received) -> None:
        self.appended = self._stream.append(encoded(part))
        self._state = part

    def close(self) -> None:
        """End the session. The slot stays."""
        if self._session is not None:
            self._session.close()
            self._session = None
