"""The machine dies at any moment of a backup: what was committed stays, and the next run goes on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random  # noqa: TID251  # seeded
from typing import cast
from unittest.mock import patch

import pytest

from repository.backup.backup import BackupResult
from repository.backup.fanout import Delivery
from repository.errors import NotARepository, NoUsableTier
from repository.opened.compaction import compact_indexes
from repository.opened.open_tier import TierState
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.check import check
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from tests.support.crash_scenes import (
    ChangingSource,
    History,
    chunks_of,
    fast_folder,
    small_packs,
    stores_of,
)
from tests.support.recording_store import NEVER, Recorder, RecordingStore

TIERS = ("near", "far", "vault")
SEEDS = 20
CRASHES_EACH = 15


@pytest.fixture(autouse=True)
def _small_packs() -> Iterator[None]:
    # An index is compacted from its third run on.
    with small_packs(), patch.object(compact_indexes, "__defaults__", (2,)):
        yield


@dataclass(frozen=True)
class Backup:
    """A backup to some tiers (the others cannot be reached); `dies`: after so many moments the process is dead."""

    tiers: Sequence[str] = TIERS
    dies: int = 0


class CatchUp:
    """All tiers are brought level."""


def recorded_history(
    source: ChangingSource, recorder: Recorder, seed: int, operations: Sequence[Backup | CatchUp]
) -> History:
    """A repository that is created and worked with, by one process after the other, every write of it recorded.

    A backup that died is begun again, under its token, by the next one.
    """
    stores = {name: RecordingStore(name, recorder) for name in TIERS}
    history = History(source, list(stores.values()), seed)
    history.init()
    recorder.note("initialised")
    finished = 0
    for number, operation in enumerate(operations):
        stores = {name: store.successor() for name, store in stores.items()}
        if isinstance(operation, CatchUp):
            history.open(list(stores.values()), seed=number)
            history.catch_up_all()
            recorder.note("level")
            continue
        history.open([stores[name] for name in operation.tiers], seed=number)
        token = f"run {finished}"
        version = history.tokens.get(token, len(source.versions))
        if version == len(source.versions):
            source.change()
        if operation.dies:
            recorder.die_at = recorder.now + operation.dies
        try:
            recorder.note(history.backup(version, token))
            finished += 1
        except NoUsableTier:
            assert operation.dies
        recorder.die_at = NEVER
    return history


def examine(history: History, recorder: Recorder, moment: int, chance: Random) -> None:
    """Crash at a moment, and assert everything that is promised about it."""
    state = recorder.after_crash(moment, TIERS, chance)
    noted = recorder.noted_until(moment)
    after = History(history.source, stores_of(state), history.seed, dict(history.tokens))
    try:
        repository = after.open(seed=moment)
    except NotARepository:
        assert "initialised" not in noted
        return
    after.expect_sound()
    finished = [one for one in noted if isinstance(one, BackupResult)]
    for result in finished:
        is_everywhere = "level" in noted[noted.index(result) :]
        for tier in repository.tiers:
            committed = tier.name in result.tiers and result.tiers[tier.name].state is Delivery.COMMITTED
            if committed or is_everywhere:
                assert result.snapshot_id in tier.snapshots(), "an acknowledged snapshot is gone"
    after.expect_restores()

    # The run that was interrupted is repeated under its token, as a worker does that takes it over.
    interrupted = len(finished)
    if interrupted < len(history.tokens):
        surviving = {tier.name: chunks_of(repository, tier) for tier in repository.ready_tiers()}
        token = f"run {interrupted}"
        result = after.backup(history.tokens[token], token)
        expect_reuse(after, surviving)
        assert result.snapshot_id in {snapshot.id for snapshot in repository.snapshots()}
    after.catch_up_all()

    reopened = after.open(seed=moment + 1)
    after.expect_sound()
    after.expect_level()
    tokens = sorted(snapshot.manifest.run_token for snapshot in reopened.snapshots())
    done = min(interrupted + 1, len(history.tokens))
    assert tokens == [f"run {number}" for number in range(done)], "a run is committed once"
    if done:
        after.expect_restores_alone(only=moment % len(TIERS))


def expect_reuse(after: History, surviving: dict[str, dict[str, frozenset[bytes]]]) -> None:
    """Assert that nothing was uploaded again that the tier deduplicated against had kept."""
    repository = after.repository
    assert repository is not None
    uploaded_again = {}
    for name, packs in surviving.items():
        kept = frozenset[bytes]().union(*packs.values())
        now = chunks_of(repository, repository.tier(name))
        new = frozenset[bytes]().union(*(chunks for key, chunks in now.items() if key not in packs))
        uploaded_again[name] = len(kept & new)
    assert not uploaded_again or min(uploaded_again.values()) == 0, uploaded_again


def test_repository_survives_a_crash_at_every_step() -> None:
    """Whatever the moment: the repository opens, is sound, has all that was acknowledged, and goes on."""
    with fast_folder() as folder:
        recorder = Recorder()
        history = recorded_history(ChangingSource(folder, Random(1)), recorder, 1, [Backup(), Backup()])
        assert recorder.now > 100
        for moment in range(recorder.now + 1):
            examine(history, recorder, moment, Random(moment))


def test_repository_survives_a_power_cut_after_a_process_died() -> None:
    """What a dead process left unsynced, and the next one built upon, is still there after a power cut."""
    for dies in range(4, 64, 3):
        with fast_folder() as folder:
            recorder = Recorder()
            source = ChangingSource(folder, Random(dies))
            history = recorded_history(source, recorder, dies, [Backup(), Backup(dies=dies), Backup()])
            for seed in range(2):
                examine(history, recorder, recorder.now, Random(seed))
                examine(history, recorder, Random(seed).randint(recorder.now // 2, recorder.now), Random(seed))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_repository_survives_crashes_at_random(seed: int) -> None:
    """The same for other histories: processes that died before, tiers that were away, catch-ups, compaction."""
    chance = Random(1000 + seed)
    operations: list[Backup | CatchUp] = []
    for _ in range(chance.randint(1, 5)):
        some = [name for name in TIERS if chance.random() < 0.8] or ["near"]
        dying = Backup(some, dies=chance.randint(1, 60))
        operations.append(chance.choice([Backup(), Backup(some), dying, dying, CatchUp()]))
    with fast_folder() as folder:
        recorder = Recorder()
        history = recorded_history(ChangingSource(folder, chance), recorder, seed, operations)
        for _ in range(CRASHES_EACH):
            examine(history, recorder, chance.randint(0, recorder.now), chance)


def hurt(history: History, chance: Random) -> dict[str, dict[str, bytes]]:
    """The tiers' objects, with one tier's log, index and packs damaged here and there, and its config lost."""
    state = {store.name: dict(cast(RecordingStore, store).contents()) for store in history.stores}
    near = state["near"]
    packs, entries = (sorted(key for key in near if key.startswith(kind)) for kind in ("packs/", "log/"))
    segments = [key for key in near if key.startswith("index/")]
    for key in (chance.choice(packs), chance.choice(segments), "config"):
        del near[key]
    for key in (chance.choice(entries), chance.choice(packs)):
        if key in near:
            near[key] = near[key][:40] + bytes([near[key][40] ^ 1]) + near[key][41:]
    return state


def mended(history: History, stores: Sequence[RecordingStore], seed: int) -> History:
    """The history after a repair of its first tier from whatever state that is in, and a catch-up."""
    after = History(history.source, stores, history.seed, dict(history.tokens))
    repository = after.open(seed=seed)
    tier = repository.tier("near")
    if tier.state is TierState.REPLAYED:
        accept_history(repository, tier)
    result = repair(repository, tier, check(repository, read_percent=100, tiers=["near"]), bridge=True)
    assert result.is_complete, result.unrepaired
    after.catch_up_all()
    return after


@pytest.mark.parametrize("seed", range(4))
def test_repair_survives_a_crash_at_every_step(seed: int) -> None:
    """A repair that dies anywhere is repeated, and leaves nothing that a second one cannot mend."""
    chance = Random(seed)
    with fast_folder() as folder:
        before = recorded_history(ChangingSource(folder, chance), Recorder(), seed, [Backup(), Backup()])
        state = hurt(before, chance)
        recorder = Recorder()
        mended(before, [RecordingStore(name, recorder, objects=state[name]) for name in TIERS], seed)
        assert recorder.now > 20
        for moment in range(0, recorder.now + 1, 2):
            crashed = recorder.after_crash(moment, TIERS, Random(moment))
            after = mended(before, [RecordingStore(name, Recorder(), objects=crashed[name]) for name in TIERS], moment)
            after.open(seed=moment + 1)
            after.expect_sound()
            after.expect_level()
            after.expect_restores_alone()


def test_rebuilding_an_index_survives_a_crash_at_every_step() -> None:
    """An index that was being made anew is the old one or the new one, and whole."""
    with fast_folder() as folder:
        recorder = Recorder()
        history = recorded_history(ChangingSource(folder, Random(2)), recorder, 2, [Backup(), Backup()])
        began = recorder.now
        repository = history.open(seed=50)
        for tier in repository.tiers:
            assert not rebuild_index(repository, tier).damaged
        for moment in range(began, recorder.now + 1):
            examine(history, recorder, moment, Random(moment))
