"""A writer dies with folders unsynced, another relies on what it finds, and then the power goes."""

from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.errors import NoUsableTier, TierUnreachable
from repository.opened.repository import Repository
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.catch_up import catch_up
from repository.upkeep.rebuild import rebuild_index
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource
from tests.support.recording_disk import RecordingDisk, rebuild
from tests.support.repositories import Scene, photos, read_back
from tests.support.snapshots import kept

POWER_CUTS = 25


def _after_power_cuts(disk: RecordingDisk, scene: Scene, root: Path, target: Path) -> list[Repository]:
    """The repository as each of many power cuts, now, may have left it on the disk."""
    target.mkdir()
    found = []
    for seed in range(POWER_CUTS):
        rebuild(disk.steps, str(root), target / str(seed), Random(seed))
        store = DirectoryObjectStore(str(target / str(seed)), "disk")
        found.append(Repository.open([store], scene.provider))
    return found


def test_adopted_packs_are_durable_before_anything_relies_on_them(tmp_path: Path) -> None:
    """Packs of a writer that died before it synced their folders are synced by the one that adopts them."""
    root, disk = tmp_path / "tier", RecordingDisk()
    scene = Scene(stores=[DirectoryObjectStore(str(root), "disk", disk=disk)])
    scene.backup(photos(6), "dies", commit=False)
    scene.reopen(stores=[DirectoryObjectStore(str(root), "disk", disk=disk)])
    snapshot = scene.backup(photos(6), "next")
    assert snapshot is not None
    for repository in _after_power_cuts(disk, scene, root, tmp_path / "cut"):
        assert read_back(repository, snapshot, repository.tier("disk")) == photos(6)


def test_packs_of_a_rebuilt_index_are_durable(tmp_path: Path) -> None:
    """A rebuild puts whatever packs it finds into the index, and makes sure that they stay."""
    root, disk = tmp_path / "tier", RecordingDisk()
    scene = Scene(stores=[DirectoryObjectStore(str(root), "disk", disk=disk)])
    scene.backup(photos(6), "dies", commit=False)
    scene.reopen(stores=[DirectoryObjectStore(str(root), "disk", disk=disk)])
    rebuild_index(scene.repository, scene.tier("disk"))
    snapshot = scene.backup(photos(6), "next")
    assert snapshot is not None
    for repository in _after_power_cuts(disk, scene, root, tmp_path / "cut"):
        assert read_back(repository, snapshot, repository.tier("disk")) == photos(6)


def test_packs_that_an_interrupted_catch_up_left_are_durable_when_the_next_commits(tmp_path: Path) -> None:
    """What is there already is not copied again, but synced all the same."""
    root, disk = tmp_path / "tier", RecordingDisk()
    memory = MemoryObjectStore("memory")
    scene = Scene(stores=[memory, DirectoryObjectStore(str(root), "disk", disk=disk)])
    snapshot = scene.backup(photos(6), "run", only=["memory"])
    assert snapshot is not None
    dead = DirectoryObjectStore(str(root), "disk", disk=disk)
    for info in memory.list("packs/"):
        dead.put(info.key, memory.get(info.key), durable=False)
    scene.reopen(stores=[memory, DirectoryObjectStore(str(root), "disk", disk=disk)])
    assert catch_up(scene.repository, scene.tier("disk")).snapshots == [snapshot.id]
    for repository in _after_power_cuts(disk, scene, root, tmp_path / "cut"):
        assert read_back(repository, snapshot, repository.tier("disk")) == photos(6)


class _DiesBeforeTheLastSync(DirectoryObjectStore):
    """Gives an entry its name, and dies before the folder is synced."""

    is_dying = False

    def put(self, key: str, *arguments: object, **options: object) -> None:
        """Put; of a log entry, without the sync."""
        if self.is_dying and key.startswith("log/"):
            super().put(key, *arguments, **options | {"durable": False})  # type: ignore[arg-type]
            raise TierUnreachable("died")
        super().put(key, *arguments, **options)  # type: ignore[arg-type]


def test_snapshot_that_an_earlier_run_committed_is_durable_when_it_is_acknowledged(tmp_path: Path) -> None:
    """The run is repeated under its token, finds its own entry, and does not answer before that stays."""
    root, disk = tmp_path / "tier", RecordingDisk()
    dying = _DiesBeforeTheLastSync(str(root), "disk", disk=disk)
    scene = Scene(stores=[dying])
    source = MemorySource(MemoryFolder({b"vows": MemoryFile(b"I do")}))
    options = BackupOptions(run_token="run", label="photos")
    dying.is_dying = True
    with pytest.raises(NoUsableTier):
        backup(scene.repository, source, options=options)
    scene.reopen(stores=[DirectoryObjectStore(str(root), "disk", disk=disk)])
    result = backup(scene.repository, source, options=options)
    assert result.was_committed_before
    assert result.tiers["disk"].state is Delivery.COMMITTED
    for repository in _after_power_cuts(disk, scene, root, tmp_path / "cut"):
        assert kept(repository, result.snapshot)[b"vows"].body == b"I do"
        assert result.snapshot_id in repository.tier("disk").snapshots()
