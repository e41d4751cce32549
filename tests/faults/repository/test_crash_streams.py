"""The machine dies at any moment of an append, or of a snapshot in parts: what was acknowledged stays."""

from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions
from repository.backup.parts import back_up_part, begin_partitioned, join_parts
from repository.errors import NoUsableTier, ObjectMissing, RepositoryError
from repository.opened.repository import Repository
from repository.streams.errors import StreamNotFound
from repository.streams.stream import Appended, Durability, open_stream
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from tests.support.crash_scenes import stores_of
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.recording_store import NEVER, Objects, Recorder, RecordingStore
from tests.support.repositories import CountingClock, SeededRandomness, key_file
from tests.support.snapshots import kept
from tests.support.streams import WAL, bytes_of

TIERS = ("near", "far")
SEEDS = 3
CRASHES_EACH = 12


def opened(stores: list[RecordingStore] | dict[str, Objects], seed: int) -> Repository:
    """Open the repository as a new process does."""
    found = stores_of(stores) if isinstance(stores, dict) else stores
    return Repository.open(found, key_file(0), clock=CountingClock(), randomness=SeededRandomness(1000 + seed))


def data(number: int) -> bytes:
    """What is appended as piece `number`."""
    return b"<piece %d>" % number * (1 + number % 3)


def recorded_stream(recorder: Recorder, chance: Random, seed: int) -> int:
    """Processes that append one after the other, each dying somewhere; returns when they began."""
    stores = [RecordingStore(name, recorder) for name in TIERS]
    Repository.init(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(seed))
    number, position, begun = 0, 0, recorder.now
    for process in range(5):
        stores = [store.successor() for store in stores]
        recorder.die_at = recorder.now + chance.randrange(2, 40) if process < 4 else NEVER
        try:
            stream = open_stream(opened(stores, process), WAL)
            for _ in range(5):
                result = stream.append(data(number), position=position)
                # What fails after the tier's word was given, a process that is dead cannot have told anybody.
                recorder.note((number, result))
                number, position = number + 1, result.end
            stream.say()
        except RepositoryError:
            assert recorder.die_at != NEVER
        recorder.die_at = NEVER
    return begun


def examine_stream(recorder: Recorder, moment: int, chance: Random) -> None:
    """Crash at a moment, and assert everything that is promised about it."""
    noted = recorder.noted_until(moment)
    repository = opened(recorder.after_crash(moment, TIERS, chance), moment)
    appended = [each for each in noted if isinstance(each, tuple)]
    assert check(repository, read_percent=100).is_ok
    for name in TIERS:
        sure = [number for number, result in appended if result.tiers[name] is Durability.DURABLE]
        wanted = b"".join(data(number) for number in range(max(sure, default=-1) + 1))
        try:
            found = bytes_of(repository, tiers=[name])
        except StreamNotFound:
            found = b""
        assert found.startswith(wanted), "an acknowledged append is gone"
    # The append that was interrupted is made again, and the next one.
    known = b"".join(data(number) for number, _ in appended)
    stream = open_stream(repository, WAL)
    position = len(known)
    for number in (len(appended), len(appended) + 1):
        result = stream.append(data(number), position=position)
        known, position = known + data(number), result.end
        assert isinstance(result, Appended)
    for tier in repository.tiers:
        assert catch_up(repository, tier).is_complete
        assert bytes_of(repository, tiers=[tier.name]) == known
    assert check(repository, read_percent=100).is_ok


@pytest.mark.parametrize("seed", range(SEEDS))
def test_append_survives_a_crash_at_any_moment(seed: int) -> None:
    """On each tier that said so, in order; and what was interrupted is appended again without harm."""
    chance = Random(seed)
    recorder = Recorder()
    begun = recorded_stream(recorder, chance, seed)
    for moment in sorted(chance.sample(range(begun, recorder.now + 1), CRASHES_EACH)):
        examine_stream(recorder, moment, chance)


PARTS = {
    b"one": {b"a": b"a" * 300, b"b": b"both" * 99},
    b"two": {b"b": b"both" * 99, b"c": b"c" * 500},
}
OPTIONS = BackupOptions(run_token="run", label="parts", workers=1, memory_budget=128 << 20)


def source(name: bytes) -> MemorySource:
    """One part."""
    files = {file: MemoryFile(body, inode=number) for number, (file, body) in enumerate(PARTS[name].items(), 9)}
    return MemorySource(MemoryFolder(dict(files)))


def examine_parts(recorder: Recorder, moment: int, chance: Random, token: bytes) -> None:
    """Crash at a moment: the snapshot is there whole or not at all, and the run can be gone on with."""
    repository = opened(recorder.after_crash(moment, TIERS, chance), moment)
    noted = recorder.noted_until(moment)
    assert check(repository).is_ok
    expected = {part + b"/" + name: body for part, files in PARTS.items() for name, body in files.items()}
    for tier in repository.tiers:
        for snapshot in tier.snapshots().values():
            assert {
                path: each.body for path, each in kept(repository, snapshot, tier.name).items() if path in expected
            } == (expected)
        assert "joined" not in noted or len(tier.snapshots()) == 1, "an acknowledged snapshot is gone"
    if not repository.snapshots():
        try:
            for name in PARTS:
                back_up_part(repository, token, name, source(name), options=OPTIONS)
        except ObjectMissing:
            assert "planned" not in noted
            token = begin_partitioned(repository, list(PARTS), options=OPTIONS)
            for name in PARTS:
                back_up_part(repository, token, name, source(name), options=OPTIONS)
    snapshot = join_parts(repository, token).snapshot
    repository = opened({tier.name: tier.store.contents() for tier in repository.tiers}, moment + 1)  # type: ignore[attr-defined]
    for tier in repository.tiers:
        assert catch_up(repository, tier).is_complete
    assert [each.id for each in repository.snapshots()] == [snapshot.id]
    assert check(repository, read_percent=100).is_ok


@pytest.mark.parametrize("seed", range(2))
def test_snapshot_in_parts_survives_a_crash_at_any_moment(seed: int) -> None:
    """All of it or nothing of it, on each tier; the run goes on where it was."""
    chance = Random(seed)
    recorder = Recorder()
    stores = [RecordingStore(name, recorder) for name in TIERS]
    Repository.init(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(seed))
    begun = recorder.now
    token = begin_partitioned(opened(stores, 1), list(PARTS), options=OPTIONS)
    recorder.note("planned")
    for number, name in enumerate(PARTS, 2):
        stores = [store.successor() for store in stores]
        back_up_part(opened(stores, number), token, name, source(name), options=OPTIONS)
    stores = [store.successor() for store in stores]
    assert not join_parts(opened(stores, 9), token).is_degraded
    recorder.note("joined")
    for moment in sorted(chance.sample(range(begun, recorder.now + 1), CRASHES_EACH)):
        examine_parts(recorder, moment, chance, token)


def test_no_tier_takes_a_part_is_told() -> None:
    """Dead from the first write on."""
    recorder = Recorder()
    stores = [RecordingStore(name, recorder) for name in TIERS]
    Repository.init(stores, key_file(0), clock=CountingClock(), randomness=SeededRandomness(0))
    token = begin_partitioned(opened(stores, 1), list(PARTS), options=OPTIONS)
    stores = [store.successor() for store in stores]
    repository = opened(stores, 2)
    recorder.die_at = recorder.now
    with pytest.raises(NoUsableTier):
        back_up_part(repository, token, b"one", source(b"one"), options=OPTIONS)
