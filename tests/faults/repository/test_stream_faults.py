"""Appends, and a snapshot in parts, over a directory and a real S3 server of which a request fails, hangs, loses
its answer, or is the last one that is made: what was told stays, and what was interrupted can be done again.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from repository.backup.backup import BackupOptions
from repository.backup.parts import back_up_part, begin_partitioned, join_parts
from repository.errors import RepositoryError, TierUnreachable
from repository.opened.repository import Repository
from repository.streams.errors import StreamNotFound
from repository.streams.stream import Appended, Durability, open_stream
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from tests.faults.repository.conftest import Tiers
from tests.support.crash_scenes import fast_folder
from tests.support.fault_proxy import Action, Fault, FaultProxy
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.misbehaving_stores import FailingStore
from tests.support.repositories import CountingClock, SeededRandomness, key_file
from tests.support.snapshots import kept
from tests.support.streams import WAL, bytes_of

OPTIONS = BackupOptions(run_token="run", label="parts", workers=1, memory_budget=128 << 20)
BODY = b"photo" * 99
STEPS = 12
"""Requests of the work that are made to fail, one at a time, spread over all of it."""


def data(number: int) -> bytes:
    """What is appended as piece `number`."""
    return b"<piece %d>" % number * (1 + number % 3)


def opened(stores: Sequence[ObjectStore], seed: int = 1) -> Repository:
    """Open the repository as a new process does."""
    return Repository.open(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(seed))


def init(stores: Sequence[ObjectStore]) -> None:
    """Make the repository."""
    Repository.init(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(0))


def parts(repository: Repository) -> str:
    """Make the snapshot of one part; its id."""
    token = begin_partitioned(repository, [b"2024"], options=OPTIONS)
    source = MemorySource(MemoryFolder({b"a": MemoryFile(BODY, inode=9)}))
    back_up_part(repository, token, b"2024", source, options=OPTIONS)
    return join_parts(repository, token).snapshot.id


def work(stores: Sequence[ObjectStore], told: list[Appended]) -> None:
    """All of it; `told` takes what was acknowledged. Ends with the first error."""
    try:
        repository = opened(stores)
        stream, position = open_stream(repository, WAL), 0
        for number in range(3):
            told.append(stream.append(data(number), position=position))
            position = told[-1].end
        stream.say()
        parts(repository)
    except RepositoryError:
        return


def examine(stores: Sequence[ObjectStore], told: Sequence[Appended]) -> None:
    """Everything that is promised, once the tiers answer again."""
    repository = opened(stores, seed=2)
    assert check(repository, read_percent=100).is_ok
    for tier in repository.tiers:
        sure = [number for number, each in enumerate(told) if each.tiers[tier.name] is Durability.DURABLE]
        try:
            found = bytes_of(repository, tiers=[tier.name])
        except StreamNotFound:
            found = b""
        assert found.startswith(b"".join(data(number) for number in range(max(sure, default=-1) + 1)))
    stream, known = open_stream(repository, WAL), b"".join(data(number) for number in range(len(told)))
    for number in (len(told), len(told) + 1):
        stream.append(data(number), position=len(known))
        known += data(number)
    identity = parts(repository)
    for tier in repository.tiers if len(stores) > 1 else ():
        assert catch_up(repository, tier).is_complete
    repository = opened(stores, seed=3)
    assert [each.id for each in repository.snapshots()] == [identity]
    for tier in repository.tiers:
        assert bytes_of(repository, tiers=[tier.name]) == known
        assert kept(repository, repository.snapshots()[0], tier.name)[b"2024/a"].body == BODY
    assert check(repository, read_percent=100).is_ok


def unreachable() -> Exception:
    """What a request that fails ends with."""
    return TierUnreachable("no answer", tier="faulty")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a fast disk with a repository in `begun`."""
    with fast_folder() as folder:
        init([DirectoryObjectStore(str(folder / "begun"), "faulty")])
        yield folder


@pytest.mark.parametrize("how", ["fails", "loses its answer", "is the last"])
def test_any_request_to_a_directory(folder: Path, how: str) -> None:
    """The other tier goes on; a process that dies has told nothing that is not there."""

    def faulty(number: int, after: int) -> FailingStore:
        root = folder / f"{how} {number}"
        shutil.copytree(folder / "begun", root)
        inner = DirectoryObjectStore(str(root), "faulty")
        times = None if how == "is the last" else 1
        return FailingStore(inner, unreachable, after=after, times=times, does_it=how == "loses its answer")

    counting = faulty(0, 1 << 30)
    work([counting], [])
    for number in range(STEPS):
        store = faulty(number + 1, counting.count * number // (STEPS))
        stores: list[ObjectStore] = [store]
        told: list[Appended] = []
        if how != "is the last":
            stores.append(MemoryObjectStore("steady"))
            _join(store.inner, stores[1])
        work(stores, told)
        examine([store.inner, *stores[1:]], told)


def _join(begun: ObjectStore, other: ObjectStore) -> None:
    """Make the other one a tier of the repository."""
    repository = opened([begun, other])
    assert catch_up(repository, repository.tier(other.name)).is_complete


@pytest.mark.parametrize(
    ("action", "places"),
    [
        ("status", {"streams/": 1, "log/": 2}),
        ("blackhole", {"streams/": 2, "pending/.*/plan": 0}),
        ("lost-ack", {"streams/": 0, "pending/.*/0000": 0}),
    ],
)
def test_any_request_to_s3(tiers: Tiers, proxy: FaultProxy, action: Action, places: dict[str, int]) -> None:
    """The same where the server refuses, never answers, or does what it is told and cannot say so.

    `places`: which puts, and how many of them pass before.
    """
    for number, (place, skip) in enumerate(places.items()):
        prefix = f"streams-{action}-{number}"
        stores: list[ObjectStore] = [tiers.open(prefix), MemoryObjectStore("steady")]
        init(stores)
        fault = Fault(action, "PUT", f"{prefix}/{place}", skip=skip, status=403, code="AccessDenied")
        proxy.add(fault)
        told: list[Appended] = []
        # One that hangs is waited for once, and the request made again.
        timeout = 2.0 if action == "blackhole" else 20.0
        work([tiers.open(prefix, read_timeout=timeout, budget_seconds=60.0), stores[1]], told)
        assert fault.times == 0
        proxy.clear()
        examine(stores, told)
