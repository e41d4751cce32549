"""What of a cluster's backup needs no server: its archive, what is refused, and how its log is read."""

import io
import struct
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from repository.backup.source import SourceUnreachable
from repository.errors import Damaged, LocationInvalid
from sources.postgres.physical import receiver
from sources.postgres.physical.aligned_tar import AlignedTar
from sources.postgres.physical.cluster import Cluster, Look, refuse
from sources.postgres.physical.connection import ServerSaid
from sources.postgres.physical.record import Received, position_of, shown_position
from sources.postgres.physical.wal import Found, LogReader

PAGE = 8192


def _archive(sizes: list[int]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"base/{number}")
            member.size = size
            archive.addfile(member, io.BytesIO(bytes([number % 251 + 1]) * size))
    return made.getvalue()


def _aligned(body: bytes, step: int) -> bytes:
    aligned, found, view = AlignedTar(PAGE), bytearray(), memoryview(bytearray(3000))
    for at in range(0, len(body), step):
        aligned.take(body[at : at + step])
        while count := aligned.give_into(view):
            found += view[:count]
    aligned.end()
    while count := aligned.give_into(view):
        found += view[:count]
    return bytes(found)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 511, 512, 513, 8191, 8192, 8193, 24576, 31000]), max_size=12),
    step=st.sampled_from([1, 100, 512, 700, 32768]),
)
def test_an_archive_keeps_its_members_and_long_ones_begin_on_a_page(sizes: list[int], step: int) -> None:
    """What comes out is an archive of the same files, and each that fills a page begins on one."""
    with tarfile.open(fileobj=io.BytesIO(_aligned(_archive(sizes), step))) as archive:
        members = archive.getmembers()
        assert [(each.name, each.size) for each in members] == [(f"base/{n}", size) for n, size in enumerate(sizes)]
        for number, each in enumerate(members):
            body = archive.extractfile(each)
            assert body is not None
            assert body.read() == bytes([number % 251 + 1]) * each.size
            assert each.size < PAGE or each.offset_data % PAGE == 0


def test_an_archive_that_is_cut_off_is_none() -> None:
    """An end in the middle of a file is told, and so is what is no archive."""
    aligned = AlignedTar(PAGE)
    aligned.take(_archive([9000])[:5000])
    with pytest.raises(Damaged):
        aligned.end()
    with pytest.raises(Damaged):
        AlignedTar(PAGE).take(b"x" * 512)


LOOK = Look(
    server=170_010, system="7", timeline=1, level="replica", senders=10, may_replicate=True, is_standby=False,
    has_checksums=True, page=PAGE, segment=16 << 20, tablespaces=0, clock_us=0, inserted=0, bound=-1, settings={},
)  # fmt: skip


@pytest.mark.parametrize(
    ("otherwise", "reason", "words"),
    [
        ({"server": 140_011}, "server-version", "repo backup postgres://"),
        ({"server": 180_000}, "server-version", "repo backup postgres://"),
        ({"is_standby": True}, "standby", "primary"),
        ({"may_replicate": False}, "replication-denied", 'ALTER ROLE "back up" REPLICATION;'),
        ({"level": "minimal"}, "wal-level", "ALTER SYSTEM SET wal_level = replica;"),
        ({"senders": 1}, "wal-senders", "ALTER SYSTEM SET max_wal_senders = 10;"),
        ({"page": 4096}, "page-size", "repo backup postgres://"),
        ({"tablespaces": 2}, "tablespaces", "pg_tablespace"),
    ],
)
def test_what_can_never_be_saved_is_refused_with_what_helps(otherwise: dict[str, Any], reason: str, words: str) -> None:
    """Each with a reason of its own, and the statement that an operator needs."""
    refuse(LOOK, "back up")
    with pytest.raises(SourceUnreachable) as caught:
        refuse(replace(LOOK, **otherwise), "back up")
    assert caught.value.context["reason"] == reason
    assert words in caught.value.hint


def test_the_address_of_a_cluster() -> None:
    """It needs no database, its label is its server, and a password in it is refused as a database's is."""
    cluster = Cluster("postgres-cluster://backup@db.example.com:5433")
    assert cluster.database.name == "postgres"
    assert cluster.label == "postgres-cluster://db.example.com:5433"
    assert Cluster("postgres-cluster:///?host=/run/postgresql").label == "postgres-cluster:///run/postgresql"
    assert Cluster("postgres-cluster://db/shop").database.name == "shop"
    with pytest.raises(LocationInvalid):
        Cluster("postgres-cluster://backup:secret@db")


SEGMENT = 4 * PAGE
START = 5 * SEGMENT


def _prepared(xid: int) -> bytes:
    """What follows the time of a commit of what was prepared, with whatever the number says: it is no commit's own."""
    parts = [
        (0, bytes(8)),
        (1, struct.pack("<I", 3) + bytes(12)),
        (2, struct.pack("<I", 2) + bytes(24)),
        (8, struct.pack("<I", 1) + bytes(12)),
        (3, struct.pack("<I", 2) + bytes(32)),
    ]
    chosen = [each for place, each in enumerate(parts) if xid >> place & 1]
    bits = sum(1 << bit for bit, _ in chosen) | 1 << 4
    return struct.pack("<I", bits) + b"".join(each for _, each in chosen) + struct.pack("<I", xid) + b"gid"


class Written:
    """A log as Postgres writes it, with what is to be found in it."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.found: list[Found] = []

    def _header(self, rest: int) -> None:
        at = START + len(self.body)
        is_long = at % SEGMENT == 0
        self.body += struct.pack("<HHIQI", 0xD116, (1 if rest else 0) | (2 if is_long else 0), 1, at, rest)
        self.body += bytes((40 if is_long else 24) - 20)

    def record(self, manager: int, information: int, own: bytes, xid: int = 0) -> tuple[int, int]:
        """Where it lies."""
        own = b"\xff" + bytes([len(own)]) + own if len(own) < 256 else b"\xfe" + struct.pack("<I", len(own)) + own
        record = struct.pack("<IIQBBHI", 24 + len(own), xid, 0, information, manager, 0, 0) + own
        self.body += bytes(-len(self.body) % 8)
        if len(self.body) % PAGE == 0:
            self._header(0)
        start, at = START + len(self.body), 0
        while at < len(record):
            if len(self.body) % PAGE == 0:
                self._header(len(record) - at)
            count = min(len(record) - at, PAGE - len(self.body) % PAGE)
            self.body += record[at : at + count]
            at += count
        return start, START + len(self.body) + -len(self.body) % 8

    def commit(self, xid: int, time_us: int, *, is_prepared: bool = False) -> None:
        place = (
            self.record(1, 0xB0, struct.pack("<q", time_us) + _prepared(xid))
            if is_prepared
            else self.record(1, 0x80, struct.pack("<q", time_us) + b"more", xid)
        )
        self.found.append(Found(*place, time_us + 946_684_800_000_000, xid, None))

    def name(self, name: str) -> None:
        place = self.record(0, 0x70, struct.pack("<q64s", 7, name.encode()))
        self.found.append(Found(*place, 7 + 946_684_800_000_000, 0, name))

    def switch(self) -> None:
        self.record(0, 0x40, b"")
        self.body += bytes(-len(self.body) % SEGMENT)


@given(
    acts=st.lists(
        st.one_of(st.integers(0, 20_000), st.sampled_from(["commit", "prepared", "abort", "name", "switch"]))
    ),
    step=st.sampled_from([1, 7, 1000, PAGE, 100_000]),
)
def test_commits_and_named_points_are_found_wherever_they_lie(acts: list[int | str], step: int) -> None:
    """In whatever pieces the log comes, and across pages and segments; what is not whole at its end is not there."""
    log = Written()
    for number, act in enumerate(acts, 1):
        match act:
            case "commit":
                log.commit(number, number * 1000)
            case "prepared":
                log.commit(number, number * 1000, is_prepared=True)
            case "abort":
                log.record(1, 0xA0, bytes(8), number)
            case "name":
                log.name(f"point {number}")
            case "switch":
                log.switch()
            case int(length):
                log.record(10, 0, bytes(length), number)
    reader = LogReader(START, SEGMENT)
    found = [each for at in range(0, len(log.body), step) for each in reader.take(bytes(log.body[at : at + step]))]
    assert found == log.found
    if found:
        whole, cut = bytes(log.body[: found[-1].end - START]), bytes(log.body[: found[-1].end - START - 8])
        again = LogReader(START, SEGMENT)
        assert list(again.take(whole)) == found
        assert again.end == found[-1].end
        assert list(LogReader(START, SEGMENT).take(cut)) == found[:-1]


def test_a_log_is_read_from_the_middle_of_a_record_on() -> None:
    """From any page: the rest of a record that began before is passed over, however long it is."""
    log = Written()
    log.record(10, 0, bytes(3 * PAGE))
    log.commit(7, 1000)
    for page in range(1, 4):
        reader = LogReader(START + page * PAGE, SEGMENT)
        assert list(reader.take(bytes(log.body[page * PAGE :]))) == log.found


def test_every_kind_of_a_prepared_commit_says_which_transaction_it_ends() -> None:
    """Its record's own transaction is none: `--to-xid` found it nowhere."""
    log = Written()
    for xid in range(32, 64):
        log.commit(xid, xid, is_prepared=True)
    found = list(LogReader(START, SEGMENT).take(bytes(log.body)))
    assert [each.xid for each in found] == list(range(32, 64))


def test_another_logs_bytes_are_damage() -> None:
    """A page that says it lies elsewhere is not read as if it lay here."""
    log = Written()
    log.commit(7, 1000)
    with pytest.raises(Damaged):
        list(LogReader(START + PAGE, SEGMENT).take(bytes(log.body)))


def test_positions_are_written_as_postgres_does() -> None:
    """Both ways."""
    assert position_of("1/2A") == (1 << 32) + 42
    assert shown_position((1 << 32) + 42) == "1/2A"
    with pytest.raises(ValueError, match="no position"):
        position_of("12")


class _Hanging:
    """A connection that stays open, and over which nothing comes."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def next(self) -> bytes:
        return b""

    def wait(self, seconds: float) -> None:
        pass

    def confirm(self, position: int, *, is_asked: bool = False) -> None:
        if is_asked:
            self.asked.append(position)


def test_a_server_that_hangs_with_its_connection_open_is_asked_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "SILENT_SECONDS", 0.02)
    slot: Any = None
    stream: Any = None
    one = receiver.Receiver(slot, stream, every_seconds=30, quiet_seconds=1, wait=lambda _: None)
    session: Any = _Hanging()
    last = Received("life", "1", 1, 16 << 20, 0, 0, 700, b"", known_us=0)
    with pytest.raises(ServerSaid, match="has not answered"):
        one._collected(session, last)
    assert session.asked == [700]
