"""Restores: whole, in part, interrupted, into places that are in use, from tiers that are damaged."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from repository.backup.backup import BackupOptions, backup
from repository.backup.source import FileProblem, Reason
from repository.errors import (
    Damaged,
    NotInIndex,
    NoUsableTier,
    ObjectMissing,
    RestoreCancelled,
    RestoreRefused,
    TargetFailed,
    TierUnreachable,
    TooFewDescriptors,
)
from repository.format import pack_object_key
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.progress import Progress
from repository.restore.restore import Conflict, RestoreOptions, RestoreResult, RestoreTrouble, Trouble, restore
from repository.restore.target import MARKER_PREFIX
from repository.stored.snapshot import Snapshot, torn_of
from repository.stored.tree import Extra, ids_of
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from sources.directory import DirectorySource
from tests.support.file_trees import differences, make_everything, seen
from tests.support.memory_source import MemoryFile, MemoryFolder, MemorySource, MemorySpecial
from tests.support.repositories import Scene
from tests.support.snapshots import kept


def noise(length: int, seed: object = 0) -> bytes:
    """Bytes that do not compress."""
    return hashlib.shake_256(repr(seed).encode()).digest(length)


def saved(repository: Repository, tree: MemoryFolder | Path, token: str = "1", **options: Any) -> Snapshot:
    """A snapshot of a tree in memory or of a folder."""
    source = DirectorySource(tree) if isinstance(tree, Path) else MemorySource(tree)
    return backup(repository, source, options=BackupOptions(run_token=token, label="photos", **options)).snapshot


def restored(repository: Repository, snapshot: Snapshot, target: Path, **options: Any) -> RestoreResult:
    """Restore with these options."""
    return restore(repository, snapshot, os.fsencode(target), options=RestoreOptions(**options))


def files_of(**bodies: bytes) -> MemoryFolder:
    """A folder of files."""
    return MemoryFolder(
        {name.encode(): MemoryFile(body, inode=number) for number, (name, body) in enumerate(bodies.items(), 50)}
    )


def contents(target: Path) -> dict[str, bytes]:
    """The files below a folder, but for the mark of a restore that lacks something."""
    files = (path for path in target.rglob("*") if path.is_file() and not path.name.encode().startswith(MARKER_PREFIX))
    return {str(path.relative_to(target)): path.read_bytes() for path in files}


def only(result: RestoreResult, *wanted: Trouble) -> list[RestoreTrouble]:
    """The troubles of a restore but for owners, which only root may set; they are of the wanted kinds."""
    found = [trouble for trouble in result.troubles if trouble.trouble is not Trouble.OWNER]
    assert {trouble.trouble for trouble in found} == set(wanted)
    return found


def damage(store: Any, pack_id: bytes, *, at: int = 150) -> None:
    """Flip a bit of a pack."""
    key = pack_object_key(pack_id)
    body = bytearray(store.get(key))
    body[at] ^= 1
    store.put(key, bytes(body))


def pack_of(repository: Repository, body: bytes) -> bytes:
    """The pack that holds this chunk."""
    location = repository.tiers[0].index.lookup(repository.keys.active().chunk_id(body))
    assert location is not None
    return location.pack_id


# Whole and in part


def test_restore_reads_directory_tiers(tmp_path: Path) -> None:
    """What is on a disk is read from there, without a copy of the pack in memory, and comes back as it was."""
    make_everything(tmp_path / "source")
    scene = Scene(stores=[DirectoryObjectStore(str(tmp_path / "tier"), "disk")])
    snapshot = saved(scene.repository, tmp_path / "source")
    result = restored(scene.repository, snapshot, tmp_path / "target")
    assert result.troubles == []
    assert result.is_whole
    assert differences(seen(tmp_path / "source"), seen(tmp_path / "target")) == []
    before = seen(tmp_path / "source")
    kinds = [each.kind for each in before.values()]
    assert result.files == kinds.count(stat.S_IFREG)
    assert result.folders == kinds.count(stat.S_IFDIR)
    assert result.others == len(kinds) - result.files - result.folders
    assert result.bytes_by_tier.keys() == {"disk"}
    assert result.seconds > 0


def test_deep_and_long_names_come_back(tmp_path: Path) -> None:
    """Forty levels of names of 255 bytes, a path far beyond what the system takes at once, go there and back."""
    root = tmp_path / "source"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for level in range(40):
        name = b"%02d" % level + b"d" * 253
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        file = os.open(b"f" * 255, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=below)
        os.write(file, b"%d" % level)
        os.close(file)
        os.symlink(b"t" * 4000, b"link", dir_fd=below)
        os.close(fd)
        fd = below
    os.close(fd)
    scene = Scene()
    snapshot = saved(scene.repository, root)
    assert restored(scene.repository, snapshot, tmp_path / "target").troubles == []
    assert len(seen(tmp_path / "target")) == 120
    assert differences(seen(root), seen(tmp_path / "target")) == []


def test_globs_choose_and_make_only_the_folders_that_are_needed(tmp_path: Path) -> None:
    """Only what matches is restored, with the folders on the way to it, and no others."""
    tree = files_of(top=b"1")
    tree.entries[b"smith"] = MemoryFolder({b"raw": files_of(one=b"2", two=b"3"), b"empty": MemoryFolder()})
    tree.entries[b"jones"] = MemoryFolder({b"raw": files_of(one=b"4"), b"web": files_of(three=b"5")})
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    result = restored(scene.repository, snapshot, tmp_path / "a", globs=("*/raw/one",))
    assert contents(tmp_path / "a") == {"smith/raw/one": b"2", "jones/raw/one": b"4"}
    assert sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*") if path.is_dir()) == [
        "jones",
        "jones/raw",
        "smith",
        "smith/raw",
    ]
    assert (result.files, result.folders) == (2, 4)
    restored(scene.repository, snapshot, tmp_path / "b", globs=(b"smith", "to*"))
    assert contents(tmp_path / "b") == {"top": b"1", "smith/raw/one": b"2", "smith/raw/two": b"3"}
    assert (tmp_path / "b" / "smith" / "empty").is_dir()


def test_more_than_a_window_is_restored_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree larger than what is planned together comes back whole, links over windows and folder times included."""
    for module in ("restore.plan", "restore.writing"):
        monkeypatch.setattr(f"repository.{module}.WINDOW_PARTS", 7)
    make_everything(tmp_path / "source")
    for number in range(30):
        (tmp_path / "source" / f"folder {number}").mkdir()
        (tmp_path / "source" / f"folder {number}" / "file").write_bytes(b"%d" % (number % 5))
        os.utime(tmp_path / "source" / f"folder {number}", ns=(0, number))
    scene = Scene()
    snapshot = saved(scene.repository, tmp_path / "source")
    assert restored(scene.repository, snapshot, tmp_path / "target").troubles == []
    assert differences(seen(tmp_path / "source"), seen(tmp_path / "target")) == []


def test_few_descriptors_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders far more than may be open at a time are filled in any order."""
    monkeypatch.setattr("repository.restore.files.OPEN_MAX", 2)
    monkeypatch.setattr("repository.restore.folders.OPEN_MAX", 2)
    # Chunks shared by all files, so that every file is written from each pack in turn.
    parts = [noise(1_500_000, number) for number in range(4)]
    tree = MemoryFolder(
        {
            b"%d" % number: MemoryFolder({b"f": MemoryFile(b"".join(parts[number % 3 :] + parts), inode=number)})
            for number in range(9)
        }
    )
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    result = restored(scene.repository, snapshot, tmp_path / "t", workers=3)
    only(result)
    assert contents(tmp_path / "t") == {f"{number}/f": b"".join(parts[number % 3 :] + parts) for number in range(9)}


def test_holes_may_be_filled_on_demand(tmp_path: Path) -> None:
    """Sparse files are sparse again, or, where the caller wants it, take the room that they say."""
    with (tmp_path / "sparse").open("wb") as made:
        made.truncate(3_000_000)
        made.seek(1_000_000)
        made.write(b"x" * 10_000)
    scene = Scene()
    snapshot = saved(scene.repository, tmp_path / "sparse")
    for sparse in (True, False):
        restored(scene.repository, snapshot, tmp_path / str(sparse), sparse=sparse)
        status = os.stat(tmp_path / str(sparse) / "sparse")
        assert (status.st_blocks * 512 < 1_000_000) is sparse
        assert contents(tmp_path / str(sparse)) == {"sparse": (tmp_path / "sparse").read_bytes()}


def test_holes_count_in_the_progress_of_a_backup(tmp_path: Path) -> None:
    """A hole is of the file's size and needs no reading: who watches sees all of it done."""
    with (tmp_path / "sparse").open("wb") as made:
        made.truncate(3_000_000)
        made.seek(1_000_000)
        made.write(b"x" * 10_000)
    (tmp_path / "hollow").touch()
    os.truncate(tmp_path / "hollow", 5_000_000)
    heard: list[Progress] = []
    run_options = BackupOptions(run_token="1", label="photos", on_progress=heard.append)
    backup(Scene().repository, DirectorySource(tmp_path), options=run_options)
    assert (heard[-1].bytes_found, heard[-1].bytes_done) == (8_000_000, 8_000_000)


def test_restore_tells_its_progress(tmp_path: Path) -> None:
    """The last figures are those of everything."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"x" * 10, b=noise(900_000)))
    heard: list[Progress] = []
    restored(scene.repository, snapshot, tmp_path / "t", on_progress=heard.append)
    last = heard[-1]
    assert (last.files_found, last.files_done, last.bytes_found, last.bytes_done) == (2, 2, 900_010, 900_010)
    assert last.is_walk_complete


# Places that are in use


@pytest.mark.parametrize("what", ["file in it", "a file itself", "below a file"])
def test_target_in_use_is_refused_and_untouched(tmp_path: Path, what: str) -> None:
    """By default nothing is restored into a folder that holds anything."""
    target = tmp_path / "t"
    if what == "file in it":
        target.mkdir()
        (target / "mine").write_bytes(b"mine")
    else:
        target.write_bytes(b"mine")
        if what == "below a file":
            target = target / "below"
    before = seen(tmp_path)
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    with pytest.raises(RestoreRefused):
        restored(scene.repository, snapshot, target)
    assert differences(before, seen(tmp_path)) == []


def _in_the_way(target: Path) -> None:
    """Other things under the names of the snapshot's."""
    target.mkdir()
    (target / "small").write_bytes(b"mine")
    (target / "large").write_bytes(b"mine")
    (target / "folder").write_bytes(b"mine")
    (target / "link").write_bytes(b"mine")
    (target / "other link").write_bytes(b"mine")
    (target / "beside").write_bytes(b"mine")
    (target / "file").mkdir()
    (target / "merged").mkdir()
    (target / "merged").chmod(0o711)
    (target / "merged" / "old").write_bytes(b"mine")
    os.utime(target / "merged", ns=(1, 1))


def _tree_to_restore() -> MemoryFolder:
    tree = files_of(small=b"small", file=b"file")
    tree.entries[b"large"] = MemoryFile(noise(900_000), inode=5, links=2)
    tree.entries[b"other link"] = MemoryFile(noise(900_000), inode=5, links=2)
    tree.entries[b"folder"] = files_of(inside=b"inside")
    tree.entries[b"link"] = MemorySpecial(extra=Extra(target=b"small"))
    tree.entries[b"merged"] = files_of(new=b"new")
    return tree


def test_skip_leaves_what_is_there(tmp_path: Path) -> None:
    """With `skip` nothing that exists is changed, the rest is restored, and what was left is named."""
    _in_the_way(tmp_path / "t")
    scene = Scene()
    snapshot = saved(scene.repository, _tree_to_restore())
    result = restored(scene.repository, snapshot, tmp_path / "t", conflict=Conflict.SKIP)
    names = {"small", "large", "folder", "link", "beside", "other link", "merged/old"}
    assert contents(tmp_path / "t") == dict.fromkeys(names, b"mine") | {"merged/new": b"new"}
    skipped = only(result, Trouble.SKIPPED)
    assert {trouble.path for trouble in skipped} == {b"small", b"large", b"other link", b"folder", b"link", b"file"}
    assert stat.S_IMODE(os.stat(tmp_path / "t" / "merged").st_mode) == 0o711
    assert not [name for name in os.listdir(tmp_path / "t") if name.startswith(".wedsync")]


def test_overwrite_replaces_file_by_file(tmp_path: Path) -> None:
    """With `overwrite` files, links and things in place of folders are replaced; folders are merged, never removed."""
    _in_the_way(tmp_path / "t")
    os.link(tmp_path / "t" / "small", tmp_path / "elsewhere")
    scene = Scene()
    snapshot = saved(scene.repository, _tree_to_restore())
    result = restored(scene.repository, snapshot, tmp_path / "t", conflict=Conflict.OVERWRITE)
    found = contents(tmp_path / "t")
    assert found == {
        "small": b"small",
        "large": noise(900_000),
        "other link": noise(900_000),
        "folder/inside": b"inside",
        "link": b"small",
        "beside": b"mine",
        "merged/old": b"mine",
        "merged/new": b"new",
    }
    assert str((tmp_path / "t" / "link").readlink()) == "small"
    # Replaced, not written through: what shares the old file's inode keeps its bytes.
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert os.stat(tmp_path / "t" / "large").st_nlink == 2
    (refused,) = only(result, Trouble.NOT_CREATED)
    assert refused.path == b"file"
    assert (tmp_path / "t" / "file").is_dir()
    assert os.stat(tmp_path / "t" / "merged").st_mtime_ns == 500


@pytest.mark.parametrize("call", ["mknod", "symlink", "replace"])
def test_overwrite_takes_nothing_away_for_what_the_system_refuses_to_make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A device without the right to make one, a link where the file system has none: what is in the way stays."""
    tree = MemoryFolder(
        {b"device": MemorySpecial(stat.S_IFCHR | 0o600), b"link": MemorySpecial(extra=Extra(target=b"x"))}
    )
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    (tmp_path / "t").mkdir()
    for name in ("device", "link"):
        (tmp_path / "t" / name).write_bytes(b"mine")

    def refuses(*_arguments: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "not here")

    monkeypatch.setattr(os, call, refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t", conflict=Conflict.OVERWRITE)
    monkeypatch.undo()
    stayed = {"mknod": {"device"}, "symlink": {"link"}}.get(call, {"device", "link"})
    assert contents(tmp_path / "t").items() >= dict.fromkeys(stayed, b"mine").items()
    assert {each.path.decode() for each in result.troubles if each.trouble is not Trouble.OWNER} >= stayed
    assert not list((tmp_path / "t").glob(".wedsync-restoring-*"))
    if call == "mknod":
        assert (tmp_path / "t" / "link").readlink() == Path("x")


def test_rename_restores_beside_what_is_there(tmp_path: Path) -> None:
    """With `rename` everything is restored, under a name with the snapshot's id where its own is taken."""
    _in_the_way(tmp_path / "t")
    scene = Scene()
    snapshot = saved(scene.repository, _tree_to_restore())
    tail = f".restored-{snapshot.id[:8]}"
    (tmp_path / "t" / f"small{tail}").write_bytes(b"taken, too")
    result = restored(scene.repository, snapshot, tmp_path / "t", conflict=Conflict.RENAME)
    only(result)
    found = contents(tmp_path / "t")
    assert found.pop(f"link{tail}") == b"mine"
    assert found[f"small{tail}-1"] == b"small"
    assert found[f"large{tail}"] == found[f"other link{tail}"] == noise(900_000)
    assert found[f"folder{tail}/inside"] == b"inside"
    assert found[f"file{tail}"] == b"file"
    assert found["merged/new"] == b"new"
    assert {name: body for name, body in found.items() if body == b"mine"}.keys() == {
        *("small", "large", "folder", "link", "beside", "other link", "merged/old")
    }
    assert str((tmp_path / "t" / f"link{tail}").readlink()) == "small"
    assert result.renamed == 6


def test_longest_name_can_be_renamed(tmp_path: Path) -> None:
    """A name of 255 bytes that is taken is cut, so that the new one fits."""
    name = "n" * 255
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / name).write_bytes(b"mine")
    scene = Scene()
    snapshot = saved(scene.repository, files_of(**{name: b"restored"}))
    restored(scene.repository, snapshot, tmp_path / "t", conflict=Conflict.RENAME)
    assert sorted(contents(tmp_path / "t").values()) == [b"mine", b"restored"]


def test_file_that_turns_up_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody makes between the look and the writing is left with `skip`, and avoided with `rename`."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(late=b"restored"))
    for conflict in (Conflict.SKIP, Conflict.RENAME):
        target = tmp_path / conflict
        target.mkdir()
        (target / "other").touch()
        real = os.link

        def link(*args: Any, target: Path = target, real: Callable[..., None] = real, **options: Any) -> None:
            (target / "late").write_bytes(b"meanwhile")
            real(*args, **options)

        monkeypatch.setattr(os, "link", link)
        result = restored(scene.repository, snapshot, target, conflict=conflict)
        monkeypatch.setattr(os, "link", real)
        found = contents(target)
        assert found["late"] == b"meanwhile"
        assert (b"restored" in found.values()) is (conflict is Conflict.RENAME)
        assert (Trouble.SKIPPED in result.trouble_counts) is (conflict is Conflict.SKIP)


# Hostile trees and targets


@pytest.mark.parametrize("name", [b"..", b".", b"a/b", b"/etc/evil", b"../../evil", b"nul\x00"])
def test_hostile_name_is_refused(tmp_path: Path, name: bytes) -> None:
    """A name that could lead out of its folder is never given to the system, as a file, folder or link."""
    (tmp_path / "t").mkdir()
    scene = Scene()
    hostile: list[Any] = [MemoryFile(b"evil"), files_of(evil=b"evil"), MemorySpecial(extra=Extra(target=b"x"))]
    for number, entry in enumerate(hostile):
        tree = files_of(good=b"good")
        tree.entries[b"folder"] = MemoryFolder({name: entry})
        snapshot = saved(scene.repository, tree, str(number))
        result = restored(scene.repository, snapshot, tmp_path / "t" / str(number))
        (trouble,) = only(result, Trouble.HOSTILE_NAME)
        assert trouble.path == b"folder/" + name
        assert not result.is_whole
        assert contents(tmp_path / "t" / str(number)) == {"good": b"good"}
    assert {path.name for path in tmp_path.iterdir()} == {"t"}


def test_link_in_the_target_is_not_followed(tmp_path: Path) -> None:
    """A symlink that lies in the target where the snapshot has a folder or file leads nowhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"untouched")
    scene = Scene()
    tree = files_of(victim=b"evil")
    tree.entries[b"folder"] = files_of(victim=b"evil", new=b"evil")
    snapshot = saved(scene.repository, tree)
    for conflict in (Conflict.SKIP, Conflict.OVERWRITE, Conflict.RENAME):
        target = tmp_path / conflict
        target.mkdir()
        os.symlink(outside, target / "folder")
        os.symlink(outside / "victim", target / "victim")
        restored(scene.repository, snapshot, target, conflict=conflict)
        assert contents(outside) == {"victim": b"untouched"}


def test_link_of_the_snapshot_is_not_followed(tmp_path: Path) -> None:
    """A symlink that comes with the snapshot is made, never written through, whatever it points at."""
    (tmp_path / "victim").write_bytes(b"untouched")
    target = os.fsencode(tmp_path / "victim")
    tree = MemoryFolder({b"link": MemorySpecial(extra=Extra(target=target)), b"link2": MemoryFile(b"evil")})
    scene = Scene()
    restored(scene.repository, saved(scene.repository, tree), tmp_path / "t")
    assert str((tmp_path / "t" / "link").readlink()) == str(tmp_path / "victim")
    assert (tmp_path / "victim").read_bytes() == b"untouched"


def test_unknown_kind_is_reported(tmp_path: Path) -> None:
    """An entry of a kind that this system does not have is named, and nothing is made of it."""
    scene = Scene()
    snapshot = saved(scene.repository, MemoryFolder({b"door": MemorySpecial(0o150000 | 0o600)}))
    (trouble,) = only(restored(scene.repository, snapshot, tmp_path / "t"), Trouble.NOT_CREATED)
    assert trouble == RestoreTrouble(b"door", Trouble.NOT_CREATED, "unknown kind")


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_devices_come_back(tmp_path: Path) -> None:
    """A device is made again with its numbers where the system lets it."""
    scene = Scene()
    tree = MemoryFolder({b"null": MemorySpecial(stat.S_IFCHR | 0o666, Extra(device=(1, 3)))})
    result = restored(scene.repository, saved(scene.repository, tree), tmp_path / "t")
    if Trouble.NOT_CREATED in result.trouble_counts:
        pytest.skip("not allowed to make devices")
    status = os.stat(tmp_path / "t" / "null")
    assert (stat.S_ISCHR(status.st_mode), status.st_rdev) == (True, os.makedev(1, 3))


def test_what_was_not_saved_is_named_again(tmp_path: Path) -> None:
    """Files and folders that could not be read when the backup was made are named by the restore as well."""
    problem = FileProblem(Reason.UNREADABLE, "EACCES")
    tree = files_of(good=b"1")
    tree.entries[b"locked"] = MemoryFile(b"x", problem=problem)
    tree.entries[b"closed"] = MemoryFolder(listing_problem=problem)
    scene = Scene()
    result = restored(scene.repository, saved(scene.repository, tree), tmp_path / "t")
    assert {trouble.path for trouble in only(result, Trouble.NOT_SAVED)} == {b"locked", b"closed"}
    assert result.is_whole
    assert result.has_losses


def test_what_was_written_to_while_it_was_saved_is_named_again(tmp_path: Path) -> None:
    """It is kept, perhaps as a mixture: whoever restores it is told, as whoever saved it was."""
    tree = files_of(still=b"1", torn=b"2")
    torn = tree.entries[b"torn"]
    assert isinstance(torn, MemoryFile)
    torn.changes_row = torn.row
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert [trouble.path for trouble in only(result, Trouble.CHANGED)] == [b"torn"]
    assert torn_of(snapshot.manifest) == 1
    assert [(each.problem, each.is_damage) for each in check(scene.repository).findings] == [(Problem.TORN, False)]
    assert result.is_whole
    assert not set(result.trouble_counts) - {Trouble.CHANGED, Trouble.OWNER}
    assert RestoreResult(trouble_counts={Trouble.CHANGED: 1}).has_losses is False


# Tiers that are damaged


def test_damaged_chunk_comes_from_another_tier(tmp_path: Path) -> None:
    """A tier that lost or flipped bytes of some chunks gives the rest; those come from the next one."""
    scene = Scene(("a", "b"))
    tree = files_of(small=b"small" * 100, large=noise(3_000_000))
    snapshot = saved(scene.repository, tree)
    for pack_id in scene.tier("a").index.pack_ids():
        damage(scene.store("a"), pack_id)
    result = restored(scene.repository, snapshot, tmp_path / "t", tiers=("a", "b"))
    only(result)
    assert contents(tmp_path / "t") == {"small": b"small" * 100, "large": noise(3_000_000)}
    assert result.chunks_from_other_tiers > 0


def test_missing_packs_come_from_another_tier(tmp_path: Path) -> None:
    """A tier of which packs are gone, cut off or swapped is passed over for the next one, on disk as in memory."""
    stores = [DirectoryObjectStore(str(tmp_path / "tier"), "a"), MemoryObjectStore("b")]
    scene = Scene(stores=stores)
    tree = files_of(**{f"f{number}": noise(9_000_000, number) for number in range(9)})
    snapshot = saved(scene.repository, tree)
    keys = [info.key for info in stores[0].list("packs/") if info.size > 1_000_000]
    assert len(keys) >= 3
    stores[0].delete(keys[0])
    os.truncate(tmp_path / "tier" / keys[1], 5_000_000)
    stores[0].put(keys[2], stores[0].get(keys[1]))
    result = restored(scene.repository, snapshot, tmp_path / "t")
    only(result)
    assert contents(tmp_path / "t") == {f"f{number}": noise(9_000_000, number) for number in range(9)}


def test_chunk_that_no_tier_has_costs_its_file_alone(tmp_path: Path) -> None:
    """What is lost everywhere is named; of a large file the rest is kept beside, under a name that says so."""
    scene = Scene(("a", "b"))
    large = noise(9_000_000)
    tree = files_of(small=b"small" * 9_000, other=b"other", large=large)
    snapshot = saved(scene.repository, tree, workers=1)
    index = scene.tier("a").index
    for name in ("a", "b"):
        location = index.lookup(scene.repository.keys.active().chunk_id(b"small" * 9_000))
        assert location is not None
        pack = bytearray(scene.store(name).get(pack_object_key(location.pack_id)))
        pack[200] ^= 1
        scene.store(name).put(pack_object_key(location.pack_id), bytes(pack))
    result = restored(scene.repository, snapshot, tmp_path / "t")
    only(result, Trouble.DAMAGED)
    assert not result.is_whole
    incomplete = [name for name in contents(tmp_path / "t") if ".incomplete-" in name]
    assert incomplete in ([], [f"large.incomplete-{snapshot.id[:8]}"])
    if incomplete:
        kept = contents(tmp_path / "t")[incomplete[0]]
        assert len(kept) == len(large)
        assert sum(one != other for one, other in zip(kept[::4096], large[::4096], strict=True)) < len(large) / 8192


@pytest.mark.parametrize("place", [0, 3, -1])
def test_chunk_that_is_another_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    """Of a frame that opens, what does not hash to its id is taken from elsewhere; what is beside it is written."""
    scene = Scene(("a", "b"))
    tree = files_of(large=noise(400_000), twin=noise(400_000))
    tree.block_length = 8192
    snapshot = saved(scene.repository, tree, workers=1)
    ids = ids_of(kept(scene.repository, snapshot)[b"large"].entry.content or b"")
    hashed: list[bytes] = []

    class Hash:
        """Says of one chunk that it is another."""

        def __init__(self, chunk: memoryview, key: bytes) -> None:
            self._digest = blake3(chunk, key=key).digest()
            hashed.append(self._digest)

        def digest(self) -> bytes:
            return b"another" if self._digest == ids[place] else self._digest

    monkeypatch.setattr("repository.restore.reading.blake3", Hash)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    only(result)
    assert contents(tmp_path / "t") == {"large": noise(400_000), "twin": noise(400_000)}
    assert result.chunks_from_other_tiers == 2
    assert sorted(hashed) == sorted([*ids, ids[place]])  # what both files want is hashed once
    assert len(ids) == 49


def test_tier_that_keeps_failing_is_not_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a few failures in a row another tier is read first, not chunk by chunk."""
    for module in ("restore.plan", "restore.writing"):
        monkeypatch.setattr(f"repository.{module}.WINDOW_PARTS", 10)
    monkeypatch.setattr("repository.restore.reading.SPAN_REMOTE", 1)
    scene = Scene(("a", "b"))
    tree = files_of(**{f"f{number:02}": noise(300_000, number) for number in range(60)})
    snapshot = saved(scene.repository, tree)

    def gone(*_args: object, **_options: object) -> bytes:
        raise TierUnreachable("cable is out")

    monkeypatch.setattr(scene.store("a"), "get_range", gone)
    result = restored(scene.repository, snapshot, tmp_path / "t", tiers=("a", "b"))
    only(result)
    assert contents(tmp_path / "t") == {f"f{number:02}": noise(300_000, number) for number in range(60)}
    assert result.bytes_by_tier["b"] > 10 * 300_000
    assert 3 <= result.chunks_from_other_tiers <= 12


def test_index_that_lacks_a_chunk_is_no_obstacle(tmp_path: Path) -> None:
    """A chunk that one tier's index does not list is found through another's."""
    scene = Scene(("a", "b"))
    snapshot = saved(scene.repository, files_of(a=b"1", b=noise(700_000)))
    scene.tier("a").index.set_segments([])
    result = restored(scene.repository, snapshot, tmp_path / "t", tiers=("a", "b"))
    only(result)
    assert contents(tmp_path / "t") == {"a": b"1", "b": noise(700_000)}
    scene.tier("b").index.set_segments([])
    with pytest.raises(Exception, match="no tier that can be read has the chunk"):
        restored(scene.repository, snapshot, tmp_path / "u")


def test_damaged_page_costs_what_is_on_it(tmp_path: Path) -> None:
    """A page of the tree that no tier can give is named by its folder; the other folders come back."""
    scene = Scene()
    tree = files_of(top=b"1")
    tree.entries[b"lost"] = files_of(x=b"2")
    tree.entries[b"there"] = files_of(y=b"3")
    first = saved(scene.repository, MemoryFolder({b"there": tree.entries[b"there"]}), "0")
    snapshot = saved(scene.repository, tree, "1")
    known = scene.tier("a").index
    assert first.id != snapshot.id
    lost = _page_of(scene.repository, snapshot, b"lost")
    root_pack = known.lookup(bytes.fromhex(snapshot.manifest.root[0]))
    location = known.lookup(lost)
    assert root_pack is not None
    assert location is not None
    # One pack holds all pages of the snapshot: forget where the page is rather than break them all.
    lookup, lookup_all = known.lookup_any, known.lookup_all
    known.lookup_any = lambda one: None if one == lost else lookup(one)  # type: ignore[method-assign]
    known.lookup_all = lambda one: [] if one == lost else lookup_all(one)  # type: ignore[method-assign]
    result = restored(scene.repository, snapshot, tmp_path / "t")
    (trouble,) = only(result, Trouble.DAMAGED)
    assert trouble.path == b"lost"
    assert contents(tmp_path / "t") == {"top": b"1", "there/y": b"3"}


def _page_of(repository: Repository, snapshot: Snapshot, path: bytes) -> bytes:
    content = kept(repository, snapshot)[path].entry.content
    assert content is not None
    return content


def test_content_that_does_not_add_up_is_not_begun(tmp_path: Path) -> None:
    """A file whose chunks are not as long together as its size says is damaged, not cut or filled."""
    file = MemoryFile(b"12345")
    file.changes_row = (*file.row[:3], 9, *file.row[4:])
    scene = Scene()
    result = restored(scene.repository, saved(scene.repository, MemoryFolder({b"f": file})), tmp_path / "t")
    only(result, Trouble.DAMAGED, Trouble.CHANGED)
    assert contents(tmp_path / "t") == {}


def test_attributes_that_are_lost_cost_no_bytes(tmp_path: Path) -> None:
    """Extended attributes whose chunk is gone are named; the file is there."""
    many = Extra(xattrs=tuple((b"user.%03d" % number, noise(100, number)) for number in range(60)))
    scene = Scene()
    snapshot = saved(scene.repository, MemoryFolder({b"f": MemoryFile(b"x", extra=many)}))
    from repository.stored.tree import encode_xattrs

    lost = scene.repository.keys.active().chunk_id(encode_xattrs(many.xattrs))
    index = scene.tier("a").index
    lookup_all = index.lookup_all
    index.lookup_all = lambda one: [] if one == lost else lookup_all(one)  # type: ignore[method-assign]
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert result.trouble_counts[Trouble.XATTR] >= 1
    assert contents(tmp_path / "t") == {"f": b"x"}


def test_snapshot_that_no_tier_has_cannot_be_restored(tmp_path: Path) -> None:
    """Without a tier that has the snapshot there is nothing to do, and nothing is made.

    One of another repository is looked for everywhere, as one would be whose entry is lost.
    """
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    with pytest.raises(NotInIndex):
        restored(Scene(seed=0).repository, snapshot, tmp_path / "t")
    with pytest.raises(NoUsableTier):
        restored(scene.repository, snapshot, tmp_path / "t", tiers=("other",))
    assert not (tmp_path / "t").exists()


def test_root_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """When not even the root page is whole, the restore says so and makes nothing."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    damage(scene.store("a"), pack_of(scene.repository, b"1"))
    root = scene.tier("a").index.lookup(bytes.fromhex(snapshot.manifest.root[0]))
    assert root is not None
    damage(scene.store("a"), root.pack_id)
    with pytest.raises(Damaged):
        restored(scene.repository, snapshot, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_fastest_of_several_remote_tiers_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tiers that are all far away, the one that answers first is read; one that does not answer is last."""
    scene = Scene(("slow", "dead", "fast"))
    snapshot = saved(scene.repository, files_of(a=b"1"))
    let = {"slow": 0.05}

    def head(name: str, real: Callable[[str], Any]) -> Callable[[str], Any]:
        def asked(key: str) -> Any:
            if name == "dead":
                raise TierUnreachable("cable is out")
            import threading

            threading.Event().wait(let.get(name, 0))
            return real(key)

        return asked

    for name in ("slow", "dead", "fast"):
        monkeypatch.setattr(scene.store(name), "head", head(name, scene.store(name).head))
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert result.bytes_by_tier.keys() == {"fast"}


# Targets that fail, interruptions


class _FailsLater:
    """A system call that fails after so many calls."""

    def __init__(self, real: Callable[..., Any], number: int, after: int) -> None:
        self._real = real
        self._number = number
        self._left = after

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise OSError(self._number, os.strerror(self._number))
        return self._real(*args, **options)


def _many() -> MemoryFolder:
    tree = files_of(**{f"s{number:02}": b"%d" % number * 100 for number in range(30)})
    tree.entries[b"folder"] = files_of(**{f"l{number}": noise(3_000_000, number) for number in range(4)})
    tree.entries[b"fifo"] = MemorySpecial(stat.S_IFIFO | 0o600)
    tree.entries[b"link"] = MemorySpecial(extra=Extra(target=b"s01"))
    tree.entries[b"h1"] = MemoryFile(b"linked", inode=900, links=2)
    tree.entries[b"h2"] = MemoryFile(b"linked", inode=900, links=2)
    return tree


def _many_contents() -> dict[str, bytes]:
    found = {f"s{number:02}": b"%d" % number * 100 for number in range(30)}
    found |= {f"folder/l{number}": noise(3_000_000, number) for number in range(4)}
    return found | {"link": b"1" * 100, "h1": b"linked", "h2": b"linked"}


@pytest.mark.parametrize("after", [0, 5, 15, 40])
@pytest.mark.parametrize("conflict", list(Conflict))
def test_interrupted_restore_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, conflict: Conflict
) -> None:
    """A restore that ended when the target was full is finished by the same call: what is right is kept, not read."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    target = tmp_path / "t"
    target.mkdir()
    if conflict is not Conflict.REFUSE:
        (target / "mine").write_bytes(b"mine")
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _FailsLater(os.pwrite, errno.ENOSPC, after))
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, target, conflict=conflict, workers=1)
    assert [name for name in os.listdir(os.fsencode(target)) if name.startswith(MARKER_PREFIX)]
    result = restored(scene.repository, snapshot, target, conflict=conflict)
    found = contents(target)
    found.pop("mine", None)
    assert found == _many_contents()
    if after >= 15:
        assert result.resumed_files > 0
    assert os.stat(target / "h1").st_nlink == 2
    assert not [name for name in seen(target) if b".wedsync" in name]
    only(
        result, *([Trouble.SKIPPED] if conflict is Conflict.SKIP and result.trouble_counts.get(Trouble.SKIPPED) else [])
    )


@pytest.mark.parametrize("unit_ns", [1_000_000_000, 2_000_000_000])
def test_restore_onto_times_in_seconds_is_gone_on_with_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit_ns: int
) -> None:
    """Where the target keeps no fraction of a second, what a restore left is still known for it, and the loss said."""
    kept = os.utime

    def coarse(path: Any, *, ns: tuple[int, int], **options: Any) -> None:
        kept(path, ns=(ns[0] // unit_ns * unit_ns, ns[1] // unit_ns * unit_ns), **options)

    monkeypatch.setattr(os, "utime", coarse)
    scene = Scene()
    tree = files_of(**{f"s{number}": noise(2_000, number) for number in range(30)})
    for entry in tree.entries.values():
        assert isinstance(entry, MemoryFile)
        entry.mtime_ns = 1_790_000_001_500_000_000
    snapshot = saved(scene.repository, tree)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _FailsLater(os.pwrite, errno.ENOSPC, 15))
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, tmp_path / "t", workers=1)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert result.resumed_files > 0
    told = only(result, Trouble.TIMES)
    assert {each.detail for each in told} == {"kept in whole seconds"}
    assert len(contents(tmp_path / "t")) == 30


def test_time_that_the_file_system_does_not_keep_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may say nothing, and keep the last one that it knows."""
    kept = os.utime
    monkeypatch.setattr(os, "utime", lambda path, *, ns, **options: kept(path, ns=(ns[0], 5), **options))
    scene = Scene()
    result = restored(scene.repository, saved(scene.repository, files_of(a=b"1")), tmp_path / "t")
    assert {each.detail for each in only(result, Trouble.TIMES)} == {"the file system keeps another"}


def test_resumed_restore_keeps_what_is_right_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file that was half restored only the missing and the wrong chunks are read again."""
    scene = Scene()
    body = noise(20_000_000)
    snapshot = saved(scene.repository, files_of(large=body))
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _FailsLater(os.pwrite, errno.ENOSPC, 10))
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, tmp_path / "t", workers=1)
    with (tmp_path / "t" / "large").open("r+b") as half:
        half.write(b"wrong")
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert contents(tmp_path / "t") == {"large": body}
    assert 0 < result.bytes < 15_000_000


def test_resumed_restore_does_not_trust_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that lies where an interrupted restore would have left a file is not taken for it."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", _FailsLater(os.pwrite, errno.ENOSPC, 3))
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, tmp_path / "t", workers=1)
    for name in ("s29", "s28"):
        (tmp_path / "t" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "t" / "s29")
    (tmp_path / "t" / "s28").mkdir()
    result = restored(scene.repository, snapshot, tmp_path / "t")
    found = contents(tmp_path / "t")
    expected = _many_contents()
    refused = {trouble.path.decode() for trouble in only(result, Trouble.IN_THE_WAY)}
    assert refused == {"s28", "s29"}
    assert found == {name: body for name, body in expected.items() if name not in refused}


@pytest.mark.parametrize("call", ["mkdir", "symlink", "mknod", "open", "ftruncate", "link"])
def test_call_that_fails_for_one_entry_costs_that_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Where the system refuses something for one entry, it is named and the rest is restored; nothing is raised."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    (tmp_path / "t").mkdir()
    real = getattr(os, call)
    denied = {"mkdir": b"folder", "symlink": b"s01", "mknod": b"fifo", "open": b"s05", "link": b"h1"}.get(call)

    def refuses(*args: Any, **options: Any) -> Any:
        concerned = denied is None or args[0] == denied
        if call == "ftruncate":
            concerned = isinstance(args[0], int) and os.fstat(args[0]).st_size == 3_000_000
        if concerned:
            raise OSError(errno.EACCES, "not here")
        return real(*args, **options)

    monkeypatch.setattr(os, call, refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    monkeypatch.undo()
    assert Trouble.NOT_CREATED in result.trouble_counts
    assert not result.is_whole
    missing = set(_many_contents()) - set(contents(tmp_path / "t"))
    assert len(missing) <= 5
    assert [name for name in os.listdir(os.fsencode(tmp_path / "t")) if name.startswith(MARKER_PREFIX)]


@pytest.mark.parametrize("call", ["pwrite", "mkdir", "symlink", "ftruncate", "fsync"])
def test_target_that_fails_as_a_whole_ends_the_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A target that is full or breaking is one error with a hint, not thousands of troubles."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, call, _FailsLater(getattr(os, call), errno.ENOSPC, 0))
    with pytest.raises(TargetFailed):
        restored(scene.repository, snapshot, tmp_path / "t")
    monkeypatch.undo()
    assert len(os.listdir("/proc/self/fd")) == before


def test_owner_that_may_not_be_set_is_named_once_per_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not root gets the bytes, and is told that the owner is another."""

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "only root may")

    scene = Scene()
    snapshot = saved(scene.repository, _many())
    monkeypatch.setattr(os, "chown", refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert contents(tmp_path / "t") == _many_contents()
    assert result.is_whole
    assert result.has_losses
    own = f"is {os.geteuid()}:{os.getegid()}"
    assert {trouble.detail.partition(", ")[2] for trouble in result.troubles} == {own}
    assert set(result.trouble_counts) == {Trouble.OWNER}
    assert result.trouble_counts[Trouble.OWNER] >= 37


def test_xattrs_that_may_not_be_set_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without extended attributes costs the attributes alone."""
    extra = Extra(xattrs=((b"user.a", b"1"),))
    tree = MemoryFolder(
        {b"file": MemoryFile(b"x", extra=extra), b"link": MemorySpecial(extra=Extra(target=b"x", xattrs=extra.xattrs))}
    )

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOTSUP, "no attributes")

    monkeypatch.setattr(os, "setxattr", refuses)
    scene = Scene()
    result = restored(scene.repository, saved(scene.repository, tree), tmp_path / "t")
    found = {trouble.path: trouble.detail for trouble in only(result, Trouble.XATTR)}
    assert found == {b"file": "ENOTSUP user.a", b"link": "ENOTSUP user.a"}
    assert result.is_whole
    assert result.has_losses


@pytest.mark.parametrize("after", [0, 2, 20])
def test_restore_can_be_cancelled_and_gone_on_with(tmp_path: Path, after: int) -> None:
    """A restore that is cancelled ends with that error, and the same call finishes it."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    calls = [0]

    def is_cancelled() -> bool:
        calls[0] += 1
        return calls[0] > after

    with pytest.raises(RestoreCancelled):
        restored(scene.repository, snapshot, tmp_path / "t", is_cancelled=is_cancelled)
    only(restored(scene.repository, snapshot, tmp_path / "t"))
    assert contents(tmp_path / "t") == _many_contents()


def test_restore_that_lacks_something_is_gone_on_with_once_it_is_there(tmp_path: Path) -> None:
    """The marker stays, a root that is read-only by now is no obstacle, and no part of a file stays beside it."""
    scene = Scene()
    bodies = {"small": b"small" * 9_000, "other": b"other", "large": noise(9_000_000)}
    snapshot = saved(scene.repository, files_of(**bodies), workers=1)
    pack = pack_of(scene.repository, bodies["small"])
    damage(scene.store("a"), pack, at=200)
    target = tmp_path / "t"
    result = restored(scene.repository, snapshot, target)
    assert not result.is_whole
    assert any(name.startswith(MARKER_PREFIX) for name in os.listdir(os.fsencode(target)))
    target.chmod(0o500)
    damage(scene.store("a"), pack, at=200)
    modes = set()

    def look() -> bool:
        modes.add(stat.S_IMODE(target.stat().st_mode) & 0o700)
        return False

    assert restored(scene.repository, snapshot, target, is_cancelled=look).is_whole
    assert {each.name: each.read_bytes() for each in target.iterdir()} == bodies
    assert modes == {0o700}


def _leave_a_link(target: Path, away: Path) -> None:
    target.symlink_to(away)


def _leave_a_folder(target: Path, _away: Path) -> None:
    target.mkdir()


@pytest.mark.parametrize("leave", [lambda _target, _away: None, _leave_a_link, _leave_a_folder])
def test_target_that_is_not_at_its_path_in_the_end_is_told_and_keeps_its_mark(
    tmp_path: Path, leave: Callable[[Path, Path], None]
) -> None:
    """Moved away (as good as unmounted), with a link to it left behind, or with another folder in its place."""
    scene = Scene()
    snapshot = saved(scene.repository, _many())
    target, away = tmp_path / "in" / "t", tmp_path / "away"

    def move() -> bool:
        if target.exists() and not away.exists():
            target.rename(away)
            leave(target, away)
        return False

    with pytest.raises(TargetFailed) as raised:
        restored(scene.repository, snapshot, target, is_cancelled=move)
    assert "moved" in str(raised.value.context["reason"])
    assert any(name.startswith(MARKER_PREFIX) for name in os.listdir(os.fsencode(away)))


def test_target_may_be_named_by_a_link_that_was_there(tmp_path: Path) -> None:
    """Who asked knows where it leads."""
    scene = Scene()
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    restored(scene.repository, saved(scene.repository, files_of(a=b"a")), tmp_path / "link" / "t")
    assert contents(tmp_path / "disk" / "t") == {"a": b"a"}


def test_globs_that_match_nothing_are_told(tmp_path: Path) -> None:
    """Also beside others, and below a folder that was asked for as well; what is there is told of no glob."""
    scene = Scene()
    tree = MemoryFolder({b"d": files_of(a=b"a", b=b"b"), b"link": MemorySpecial(extra=Extra(target=b"a"))})
    snapshot = saved(scene.repository, tree)
    globs = ("d", "d/a", "d/typo", b"nothing/**", "*.jpg", "link", "d/**", "a", "a/below")
    result = restored(scene.repository, snapshot, tmp_path / "t", globs=globs)
    assert result.unmatched == ("d/typo", b"nothing/**", "*.jpg", "a/below")
    assert restored(scene.repository, snapshot, tmp_path / "u").unmatched == ()


def test_reading_back_finds_what_the_target_did_not_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `verify` a file that does not hold what was written to it is named."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(good=noise(700_000), bad=noise(900_000, 1), worse=b"worse"))
    result = restored(scene.repository, snapshot, tmp_path / "t", verify=True)
    only(result)
    real = os.pwrite

    def lies(fd: int, body: Any, offset: int) -> int:
        if len(body) in (900_000, 5):
            real(fd, bytes(len(body)), offset)
            return len(body)
        return real(fd, body, offset)

    monkeypatch.setattr(os, "pwrite", lies)
    result = restored(scene.repository, snapshot, tmp_path / "u", verify=True)
    assert b"worse" in {trouble.path for trouble in only(result, Trouble.DAMAGED)}


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes less than it was given is given the rest."""
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, body, offset: real(fd, memoryview(body)[:100_000], offset))
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=noise(750_000), b=b"x"))
    restored(scene.repository, snapshot, tmp_path / "t")
    assert contents(tmp_path / "t") == {"a": noise(750_000), "b": b"x"}


def test_object_missing_is_the_tiers_word() -> None:
    """The error of a tier that lost a pack can be told from that of a damaged one."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    location = scene.tier("a").index.lookup(bytes.fromhex(snapshot.manifest.root[0]))
    assert location is not None
    scene.store("a").delete(pack_object_key(location.pack_id))
    with pytest.raises(ObjectMissing):
        restored(scene.repository, snapshot, Path("/nonexistent/never made"))


@pytest.mark.parametrize("conflict", [Conflict.RENAME, Conflict.OVERWRITE, Conflict.SKIP])
def test_interrupted_restore_beside_others_makes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conflict: Conflict
) -> None:
    """Gone on with, a restore finds again what it put beside other things: files, folders, links, special files."""
    scene = Scene()
    tree = _many()
    tree.entries[b"zzz"] = MemoryFile(noise(2_000_000, "last"), inode=901)
    snapshot = saved(scene.repository, tree)
    target = tmp_path / "t"
    target.mkdir()
    in_the_way = {"folder", "link", "fifo", "s00", "h1", "h2"}
    for name in in_the_way:
        (target / name).write_bytes(b"mine")
    with monkeypatch.context() as cut:
        cut.setattr("repository.restore.writing.WINDOW_PARTS", 3)
        real = os.pwrite

        def full(fd: int, body: Any, offset: int) -> int:
            if len(body) and bytes(body[:64]) in noise(2_000_000, "last"):
                raise OSError(errno.ENOSPC, "full")
            return real(fd, body, offset)

        cut.setattr(os, "pwrite", full)
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, target, conflict=conflict)
    result = restored(scene.repository, snapshot, target, conflict=conflict)
    tail = f".restored-{snapshot.id[:8]}" if conflict is Conflict.RENAME else ""
    beside = {name + tail for name in in_the_way}
    assert set(os.listdir(target)) == {name.decode() for name in tree.entries} | beside
    assert (target / "zzz").read_bytes() == noise(2_000_000, "last")
    assert result.resumed_files > 20
    if conflict is Conflict.SKIP:
        assert (target / "s00").read_bytes() == b"mine"
    else:
        assert (target / f"s00{tail}").read_bytes() == b"0" * 100
        assert (target / f"folder{tail}" / "l3").read_bytes() == noise(3_000_000, 3)
        assert os.stat(target / f"h1{tail}").st_ino == os.stat(target / f"h2{tail}").st_ino
        assert stat.S_ISFIFO(os.lstat(target / f"fifo{tail}").st_mode)
        assert (target / f"link{tail}").is_symlink()


def test_marker_of_an_interrupted_restore_is_not_followed(tmp_path: Path) -> None:
    """A link under the marker's name is no marker: the target is refused or failing, never written through."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    (tmp_path / "t").mkdir()
    (tmp_path / "victim").write_bytes(b"in-place\n")
    os.symlink(tmp_path / "victim", tmp_path / "t" / os.fsdecode(MARKER_PREFIX + snapshot.id[:16].encode()))
    with pytest.raises((TargetFailed, RestoreRefused)):
        restored(scene.repository, snapshot, tmp_path / "t")
    assert (tmp_path / "victim").read_bytes() == b"in-place\n"


def test_file_with_a_list_that_is_gone_costs_that_file(tmp_path: Path) -> None:
    """A file whose list of chunks no tier has is named; a folder whose list of pages is gone is as well."""
    from repository.stored.chunker import ChunkerParameters
    from tests.support.repositories import CountingClock, SeededRandomness, key_file

    repository = Repository.init(
        [MemoryObjectStore("a")],
        key_file(),
        chunker=ChunkerParameters(minimum=64, average=256, maximum=1024),
        clock=CountingClock(),
        randomness=SeededRandomness(),
    )
    entries: dict[bytes, Any] = {b"%05d" % number: MemoryFile(b"", inode=number) for number in range(66_000)}
    tree = MemoryFolder(
        {b"good": MemoryFile(b"good"), b"long": MemoryFile(noise(600_000)), b"many": MemoryFolder(entries)}
    )
    snapshot = saved(repository, tree)
    found = kept(repository, snapshot)
    assert found[b"long"].entry.extra.depth == found[b"many"].entry.extra.depth == 1
    lost = {(found[path].entry.content or b"")[:32] for path in (b"long", b"many")}
    index = repository.tiers[0].index
    lookup_all = index.lookup_all
    index.lookup_all = lambda one: [] if one in lost else lookup_all(one)  # type: ignore[method-assign]
    result = restored(repository, snapshot, tmp_path / "t")
    assert {trouble.path for trouble in only(result, Trouble.DAMAGED)} == {b"long", b"many"}
    assert contents(tmp_path / "t") == {"good": b"good"}


@pytest.mark.parametrize("in_use", [True, False])
@pytest.mark.parametrize("call", ["fchmod", "ftruncate", "replace", "link", "utime"])
def test_file_that_is_given_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, in_use: bool
) -> None:
    """Of a file that the system refuses in the end there is nothing left that looks like a file, and no scratch."""
    scene = Scene()
    snapshot = saved(scene.repository, files_of(small=b"small", large=noise(2_500_000)))
    (tmp_path / "t").mkdir()
    if in_use:
        (tmp_path / "t" / "mine").write_bytes(b"mine")

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(os, call, refuses)
    for conflict in (Conflict.OVERWRITE, Conflict.RENAME) if in_use else (Conflict.REFUSE,):
        with monkeypatch.context():
            result = restored(scene.repository, snapshot, tmp_path / "t", conflict=conflict)
        left = {name: len(body) for name, body in contents(tmp_path / "t").items() if name != "mine"}
        assert set(left.items()) <= {("small", 5), ("large", 2_500_000)}
        missing = {"small", "large"} - set(left)
        assert {trouble.path.decode() for trouble in result.troubles} >= missing
        for name in left:
            (tmp_path / "t" / name).unlink()


@pytest.mark.parametrize("answer", ["absent", "failing"])
def test_durability_does_not_hang_on_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Where the system has no syncfs everything is synced; where it fails, nothing is reported as restored."""
    import ctypes

    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    synced = []

    class _Library:
        def __init__(self, *_args: object, **_options: object) -> None:
            if answer == "failing":
                self.syncfs = self._fails

        def _fails(self, _fd: int) -> int:
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", _Library)
    monkeypatch.setattr(os, "sync", lambda: synced.append(True))
    if answer == "absent":
        restored(scene.repository, snapshot, tmp_path / "t")
        assert synced == [True]
    else:
        with pytest.raises(TargetFailed):
            restored(scene.repository, snapshot, tmp_path / "t")
        monkeypatch.undo()
        # Not durable, so not finished: the marker is there, and the next call makes it so.
        assert restored(scene.repository, snapshot, tmp_path / "t").resumed_files == 1


def test_snapshot_without_a_root_folder_is_damaged(tmp_path: Path) -> None:
    """A root page that names no folder is not restored as an empty one."""
    from msgspec.structs import replace

    scene = Scene()
    snapshot = saved(scene.repository, files_of(a=b"1"))
    below = _page_of(scene.repository, snapshot, b"")
    wrong = Snapshot(snapshot.id, snapshot.body, replace(snapshot.manifest, root=(below.hex(),)))
    with pytest.raises(Damaged, match="no root folder"):
        restored(scene.repository, wrong, tmp_path / "t")


@pytest.mark.parametrize("where", ["packs", "target"])
def test_too_few_descriptors_are_told_and_no_file_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A process that may open nothing more says so: no file is damaged, no tier is away, and it can be gone on with."""
    tiers = [DirectoryObjectStore(str(tmp_path / name), name) for name in ("one", "two")]
    key = KeyFile.create(tmp_path / "key")
    with Repository.init(tiers, key) as repository:
        snapshot = saved(repository, _many())
        real = os.open

        def none_left(path: Any, *args: Any, **options: Any) -> int:
            is_pack = isinstance(path, str) and "/packs/" in path
            if (where == "packs" and is_pack) or (where == "target" and path == b"s05"):
                raise OSError(errno.EMFILE, "Too many open files")
            return real(path, *args, **options)

        with monkeypatch.context() as few:
            few.setattr(os, "open", none_left)
            with pytest.raises(TooFewDescriptors):
                restored(repository, snapshot, tmp_path / "t")
        result = restored(repository, snapshot, tmp_path / "t")
        only(result)
        assert contents(tmp_path / "t") == _many_contents()
