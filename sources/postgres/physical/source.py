"""A cluster as a source, behind the port of the repository: the server's own base backup, as it streams.

The snapshot holds one file, `base.tar`: the data folder, written so that pages of 8 KiB lie on borders of 8 KiB, and
pages that an earlier backup had are not stored again. It has the log that makes it consistent, so that it can be
started with nothing else: by `repo restore`, or by `tar` and a `recovery.signal`. What is true of it stands at its
entry (`Base`).

Promise: nothing lies on a disk on the way, and memory does not grow with the cluster. The server holds its log until
the last byte was read. A page whose checksum is wrong is told by file and block, and the rest goes on.
"""

import os
import re
import stat as stat_bits
import threading
from collections.abc import Sequence
from typing import Final

import msgspec

from repository.backup.source import (
    FileProblem,
    Listing,
    ProblemSink,
    ReadAhead,
    Reason,
    SmallFile,
    SourceUnreachable,
)
from repository.errors import Retry
from repository.format import ContentClass
from repository.ports import SYSTEM_RANDOMNESS
from repository.stored.tree import Extra, Row
from sources.attributes import kernel_now_ns
from sources.postgres.catalog import quoted
from sources.postgres.database import Database
from sources.postgres.physical.aligned_tar import AlignedTar
from sources.postgres.physical.cluster import KIND, PAGE, QUERY, Cluster, Look, refuse
from sources.postgres.physical.connection import Connection, ServerSaid
from sources.postgres.physical.record import BASE, FORMAT, Base, position_of

_WAIT_SECONDS: Final = 5.0
_DAMAGED: Final = re.compile(r"((?:base|global|pg_tblspc)/[\w./]+)\W+[^\d:]*(\d+):")
_MORE: Final = re.compile(r"((?:base|global|pg_tblspc)/[\w./]+)")
_DATA_CORRUPTED: Final = "XX001"
_LOOK: Final = msgspec.json.Decoder(Look)


class ClusterSource:
    """One cluster. The moment is the end of reading. Close it at the end."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.now_ns = kernel_now_ns()
        self.look: Look | None = None
        self.base: Base | None = None
        self._lock = threading.Lock()
        self._stream: _Base | None = None

    def require(self) -> None:
        """See `Source.require`. Before it is read: it could be. Afterwards what was read is whole."""
        if self.look is None:
            self.look = look_at(self.cluster.database)

    def root(self) -> tuple[Row, "_Root"]:
        """See `Source.root`. Raises `SourceUnreachable`."""
        self.close()
        self.now_ns = kernel_now_ns()
        self.look = look_at(self.cluster.database)
        return self.row(stat_bits.S_IFDIR | 0o700, 0), _Root(self)

    def row(self, mode: int, size: int) -> Row:
        """Of the folder or the file: the time is when reading began, and no other run has the same."""
        return mode, os.geteuid(), os.getegid(), size, self.now_ns, 0, 0, 1, 0

    def open(self, tell: ProblemSink) -> "_Base":
        """Begin the backup."""
        with self._lock:
            assert self.look is not None  # noqa: S101 - the file comes from the root alone
            self._stream = _Base(self, self.look, tell)
            return self._stream

    def close(self) -> None:
        """See `Source.close`. The server lets go of what it held for the backup."""
        with self._lock:
            if self._stream is not None:
                self._stream.close()
                self._stream = None


def look_at(database: Database) -> Look:
    """How the server stands. Raises `SourceUnreachable` also for what cannot be saved."""
    connection = Connection(database)
    try:
        look = asked(connection)
    except ServerSaid as said:
        raise connection.trouble(said, "cannot be asked") from said
    finally:
        connection.close()
    refuse(look, database.login)
    return look


def asked(connection: Connection) -> Look:
    """The answer to `QUERY`. Raises `ServerSaid`, `SourceUnreachable`."""
    ((text,),) = connection.ask(QUERY)
    try:
        return _LOOK.decode(text or "")
    except msgspec.MsgspecError as error:
        raise SourceUnreachable(
            "what the server tells of itself cannot be",
            hint="Is it a Postgres?",
            retry=Retry.AFTER_OPERATOR,
            reason="answer-not-understood",
            answers=True,
        ) from error


class _Root:
    """See `SourceDirectory`."""

    ahead: ReadAhead | None = None
    block_length = PAGE

    def __init__(self, source: ClusterSource) -> None:
        self._source = source
        self._tell: ProblemSink = lambda _name, _problem: None

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        return [BASE]

    def rows(self, names: Sequence[bytes], on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`. How long it is nobody knows; what is wrong in it is told when it is read."""
        self._tell = on_problem
        return Listing([self._source.row(stat_bits.S_IFREG | 0o600, -1) for _ in names])

    def enter(self, _name: bytes) -> "_Root":
        """See `SourceDirectory.enter`. There is no folder."""
        raise FileProblem(Reason.VANISHED)

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`. The root says what it is a snapshot of."""
        return Extra(attributes=dict(KIND))

    def describe(self, _name: bytes, _row: Row) -> Extra | None:
        """See `SourceDirectory.describe`."""
        return None

    def read_small(self, _name: bytes, _row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`. What is as long as nobody knows is not small."""
        raise FileProblem(Reason.CHANGED)

    def open(self, _name: bytes, _row: Row) -> "_Base":
        """See `SourceDirectory.open`."""
        return self._source.open(self._tell)

    def close(self) -> None:
        """See `SourceDirectory.close`."""


class _Base:
    """See `SourceFile`. Two connections: one streams, the other holds the log that belongs to it."""

    head_class: ContentClass | None = None

    def __init__(self, source: ClusterSource, look: Look, tell: ProblemSink) -> None:
        self._source = source
        self._look = look
        self._tell = tell
        self._tar = AlignedTar(PAGE)
        self._size = 0
        self._is_whole = False
        self._damaged = 0
        database = source.cluster.database
        self._holding = Connection(database, is_replication=True)
        try:
            self._reading = Connection(database, is_replication=True)
        except BaseException:
            self._holding.close()
            raise
        try:
            # Until it ends, this slot keeps the server from recycling the log between start and stop.
            name = quoted(f"wedsync_base_{SYSTEM_RANDOMNESS.token_bytes(6).hex()}")
            self._holding.ask(f"CREATE_REPLICATION_SLOT {name} TEMPORARY PHYSICAL RESERVE_WAL")
            self._reading.on_notice(self._hear)
            self._reading.begin(
                "BASE_BACKUP (LABEL 'wedsync-backup', CHECKPOINT 'fast', WAL true, MANIFEST 'no', "
                "VERIFY_CHECKSUMS true)"
            )
            self._start = position_of(self._row()[0])
            self._row()  # the tablespaces: there are none of its own
            self._reading.answer()
        except BaseException as error:
            self.close()
            if isinstance(error, ServerSaid):
                raise self._reading.trouble(error, "cannot be read") from error
            raise

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        while not (count := self._tar.give_into(view)):
            if self._is_whole:
                return 0
            try:
                self._take()
            except ServerSaid as said:
                raise self._reading.trouble(said, "broke off") from said
        self._size += count
        return count

    def _take(self) -> None:
        """What the server has sent, or what comes next."""
        taken = 0
        while taken < 64:
            message = self._reading.next()
            if message is None:
                self._end()
                return
            if not message:
                if not taken:
                    self._reading.wait(_WAIT_SECONDS)
                    continue
                return
            if message[:1] == b"d":
                self._tar.take(memoryview(message)[1:])
            taken += 1

    def _end(self) -> None:
        stop = position_of(self._row()[0])
        try:
            while self._reading.answer() is not None:
                pass
        except ServerSaid as said:
            if said.state != _DATA_CORRUPTED:
                raise
            if not self._damaged:  # it said so in words that are not understood here
                self._told_damaged(b"", f"is damaged: {said.said}")
        self._tar.end()
        look = self._look
        after = look_at(self._source.cluster.database)
        if (after.system, after.timeline) != (look.system, look.timeline):
            raise SourceUnreachable("the server has become another one while it was read")
        self._source.base = Base(
            FORMAT, look.system, look.server, look.timeline, self._start, stop, look.clock_us, after.clock_us,
            look.segment, look.has_checksums, self._damaged, look.settings,
        )  # fmt: skip
        self._is_whole = True
        self.close()

    def _row(self) -> list[str | None]:
        rows = self._reading.answer()
        if not rows:
            raise ServerSaid("", "an answer is missing")
        return rows[0]

    def _hear(self, text: str) -> None:
        """A remark of the server: of a page that is damaged it says file and block, in whatever language."""
        if found := _DAMAGED.search(text):
            self._told_damaged(f"{found[1]} block {found[2]}".encode(), "its checksum is not that of its content")
        elif found := _MORE.search(text):
            self._told_damaged(found[1].encode(), f"has damaged pages: {text[:200]}")

    def _told_damaged(self, what: bytes, detail: str) -> None:
        self._damaged += 1
        self._tell(what, FileProblem(Reason.UNREADABLE, detail))

    def finish(self) -> tuple[Row, Extra | None]:
        """See `SourceFile.finish`."""
        self.close()
        base = self._source.base
        assert base is not None  # noqa: S101 - made at the end
        attributes = {"base": msgspec.json.encode(base).decode()}
        return self._source.row(stat_bits.S_IFREG | 0o600, self._size), Extra(attributes=attributes)

    def close(self) -> None:
        """See `SourceFile.close`."""
        self._reading.close()
        self._holding.close()
