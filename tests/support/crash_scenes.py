"""Small repositories with whole histories, for tests that crash, corrupt and compare them."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  # seeded by the test
from unittest.mock import patch

from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.index.whole_packs import read_whole
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.repository import Repository
from repository.restore.restore import RestoreOptions, restore
from repository.stored.snapshot import Snapshot
from repository.stored.tree import ids_of
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import ObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from sources.directory import DirectorySource
from tests.support.file_trees import Seen, differences, seen
from tests.support.recording_store import Objects
from tests.support.repositories import CountingClock, SeededRandomness, key_file

FAST_FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where files are synced in no time."""

PACK_LENGTH = 64 << 10
FRAME_LENGTH = 16 << 10


@contextmanager
def small_packs() -> Iterator[None]:
    """Packs of 64 KiB instead of 32 MiB, so that a source of some hundred KiB fills several."""
    with (
        patch("repository.backup.workshop.PACK_TARGET", PACK_LENGTH),
        patch("repository.backup.workshop.TREE_PACK_TARGET", PACK_LENGTH),
        patch("repository.stored.pack_builder.BUFFER_LENGTH_MIN", PACK_LENGTH),
        patch("repository.backup.session.SHARED_FRAME_LENGTH_MAX", FRAME_LENGTH),
        patch("repository.backup.worker.SHARED_FRAME_LENGTH_MAX", FRAME_LENGTH),
        patch("repository.backup.worker.STREAM_FRAME_LENGTH_MAX", FRAME_LENGTH),
        patch("repository.backup.lock_classes.SHARED_FRAME_LENGTH_MAX", FRAME_LENGTH),
    ):
        yield


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A temporary folder in memory, where the machine has that."""
    folder = Path(tempfile.mkdtemp(prefix="wedsync-faults-", dir=FAST_FOLDER))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass
class ChangingSource:
    """A folder of small files that changes from version to version, as the seed says."""

    folder: Path
    chance: Random
    versions: list[dict[bytes, Seen]] = field(default_factory=list)
    _copies: list[Path] = field(default_factory=list)

    def change(self, *, files: int = 6) -> int:
        """Make the next version, and return its number."""
        tree = self.folder / "tree"
        tree.mkdir(exist_ok=True)
        present = [path for path in tree.rglob("*") if path.is_file()]
        for path in present:
            if self.chance.random() < 0.15:
                path.unlink()
        for number in range(files):
            folder = tree / self.chance.choice(["", "contracts", "photos/2026"])
            folder.mkdir(parents=True, exist_ok=True)
            name = folder / f"{len(self.versions)}-{number}"
            name.write_bytes(self._content())
            if self.chance.random() < 0.2:
                name.with_name(f"copy-of-{name.name}").write_bytes(name.read_bytes())
        self.versions.append(seen(tree))
        copy = self.folder / f"version-{len(self.versions) - 1}"
        shutil.copytree(tree, copy, symlinks=True, copy_function=shutil.copy2)
        self._copies.append(copy)
        return len(self.versions) - 1

    def source(self, version: int) -> DirectorySource:
        """A version as a backup reads it: an unchanging copy."""
        return DirectorySource(str(self._copies[version]))

    def seen(self, version: int) -> dict[bytes, Seen]:
        """What is true of a version."""
        return seen(self._copies[version])

    def _content(self) -> bytes:
        size = self.chance.choice([0, 1, 700, 9_000, 20_000, 40_000])
        if self.chance.random() < 0.3:
            return (b"To have and to hold, %d.\n" % self.chance.randrange(5)) * (size // 24)
        return self.chance.randbytes(size)


@dataclass
class History:
    """A repository over tiers, and what was backed up to it: run token → version of the source."""

    source: ChangingSource
    stores: Sequence[ObjectStore]
    seed: int = 0
    tokens: dict[str, int] = field(default_factory=dict)
    repository: Repository | None = None

    @property
    def clock(self) -> CountingClock:
        return CountingClock()

    def init(self) -> Repository:
        """Create the repository on all tiers."""
        self.repository = Repository.init(
            self.stores, key_file(self.seed), clock=self.clock, randomness=SeededRandomness(self.seed)
        )
        return self.repository

    def open(self, stores: Sequence[ObjectStore] | None = None, *, seed: int = 1) -> Repository:
        """Open it, as a new process would: other random bytes, the same key."""
        self.stores = stores if stores is not None else self.stores
        self.repository = Repository.open(
            self.stores,
            key_file(self.seed),
            clock=self.clock,
            randomness=SeededRandomness(hash((self.seed, seed, len(self.tokens)))),
        )
        return self.repository

    def backup(self, version: int, token: str, *, required: Sequence[str] = ()) -> BackupResult:
        """Back up a version of the source."""
        assert self.repository is not None
        self.tokens[token] = version
        options = BackupOptions(
            run_token=token, label="photos", required=frozenset(required), workers=2, memory_budget=64 << 20
        )
        return backup(self.repository, self.source.source(version), options=options)

    def expect_restores(self, *, tiers: Sequence[str] | None = None) -> int:
        """Assert that each tier alone restores every snapshot that it has; returns how many were restored."""
        repository = self.repository
        assert repository is not None
        count = 0
        for tier in repository.readable_tiers():
            if tiers is None or tier.name in tiers:
                for snapshot in tier.snapshots().values():
                    self.expect_restore(snapshot, tier)
                    count += 1
        return count

    def expect_restore(self, snapshot: Snapshot, tier: OpenTier) -> None:
        """Assert that a tier alone gives back what was saved, byte for byte and with its attributes."""
        assert self.repository is not None
        with fast_folder() as folder:
            options = RestoreOptions(tiers=(tier.name,), workers=2)
            result = restore(self.repository, snapshot, str(folder / "restored"), options=options)
            assert result.is_whole, (tier.name, result.troubles)
            version = self.tokens[snapshot.manifest.run_token]
            found = differences(self.source.seen(version), seen(folder / "restored"))
            assert not found, (tier.name, found)

    def expect_restores_alone(self, *, only: int | None = None) -> None:
        """Assert that with nothing but one tier and the key the latest snapshot is restored, for each tier.

        `only`: the place of one tier among the stores.
        """
        for store in self.stores if only is None else [self.stores[only]]:
            alone = History(self.source, [store], self.seed, self.tokens)
            repository = alone.open(seed=99)
            alone.expect_restore(repository.find_snapshot("latest"), repository.tier(store.name))

    def expect_sound(self) -> None:
        """Assert that every tier is ready and a whole check finds nothing but orphans of unfinished runs."""
        assert self.repository is not None
        for tier in self.repository.tiers:
            assert tier.state in {TierState.READY, TierState.EMPTY}, self.repository.states()
        report = check(self.repository, read_percent=100)
        found = [
            one
            for one in report.findings
            if one.problem not in {Problem.ORPHAN, Problem.ABANDONED}
            and not (one.problem is Problem.TIER and self.repository.tier(one.tier).state is TierState.EMPTY)
        ]
        assert not found, found

    def catch_up_all(self) -> None:
        """Bring every tier level with the others; twice, since each may have what another one lacks."""
        assert self.repository is not None
        for _ in range(2):
            # Empty ones first: they are sources for the others afterwards.
            for tier in sorted(self.repository.tiers, key=lambda tier: tier.state is not TierState.EMPTY):
                if tier.state in {TierState.READY, TierState.EMPTY}:
                    result = catch_up(self.repository, tier)
                    assert not result.lost_packs
                    assert not result.left_out

    def expect_level(self) -> None:
        """Assert that all tiers have the same snapshots."""
        assert self.repository is not None
        snapshots = {tier.name: set(tier.snapshots()) for tier in self.repository.tiers}
        assert len({frozenset(ids) for ids in snapshots.values()}) == 1, snapshots


def chunks_of(repository: Repository, tier: OpenTier) -> dict[str, frozenset[bytes]]:
    """The chunk ids of each whole pack on a tier, by object key."""
    packs = read_whole(tier.store, repository.keys, list(stored_packs(tier.store)))
    return {
        pack_object_key(contents.pack.id): frozenset(
            one for frame in contents.frames for one in ids_of(frame.chunk_ids)
        )
        for contents in packs
        if contents.error is None
    }


def stores_of(state: dict[str, Objects]) -> list[MemoryObjectStore]:
    """A store for each tier's objects."""
    return [MemoryObjectStore(name, objects=objects) for name, objects in state.items()]
