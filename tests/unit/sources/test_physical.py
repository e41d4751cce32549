"""What of a cluster's backup needs no server: its archive, and what is refused."""

import io
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from repository.backup.source import SourceUnreachable
from repository.errors import Damaged, LocationInvalid
from sources.postgres.physical.aligned_tar import AlignedTar
from sources.postgres.physical.cluster import Cluster, Look, refuse

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
