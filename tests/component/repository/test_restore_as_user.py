"""Restores by a normal user, onto what is there: what is lost is told by kind, nothing is opened or replaced."""

import errno
import os
import pickle
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.errors import RestoreRefused, TargetFailed
from repository.opened.repository import Repository
from repository.restore.files import MODE_WHILE_RESTORING, TargetFile, TargetFiles
from repository.restore.names import MARKER_PREFIX, TEMPORARY_PREFIX
from repository.restore.restore import Conflict, RestoreOptions, RestoreResult, Trouble, restore
from repository.stored.snapshot import Snapshot
from sources.directory import DirectorySource
from tests.support.file_trees import differences, seen
from tests.support.repositories import Scene

USER = 54321
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="makes files of several owners")
ANYBODY = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, who)
    for tag, permissions, who in (
        (1, 7, 0xFFFFFFFF),
        (2, 7, 1234),
        (4, 0, 0xFFFFFFFF),
        (16, 7, 0xFFFFFFFF),
        (32, 0, 0xFFFFFFFF),
    )
)
"""An ACL that lets one more user in; the group gets nothing, and its mask is everything."""


def saved(repository: Repository, folder: Path, token: str = "1") -> Snapshot:
    """A snapshot of a folder, whose files lie in packs in the order of their names."""
    options = BackupOptions(run_token=token, label="photos", workers=1)
    return backup(repository, DirectorySource(folder), options=options).snapshot


def restored(repository: Repository, snapshot: Snapshot, target: Path | str, **options: Any) -> RestoreResult:
    """Restore with these options."""
    return restore(repository, snapshot, os.fsencode(target), options=RestoreOptions(**options))


def as_user(folder: Path, work: Callable[[], Any], *, uid: int = USER) -> Any:
    """What `work` returns as a user without any rights, in `folder`, which is given to that user."""
    if not IS_ROOT:
        os.chdir(folder)
        return work()
    os.chown(folder, uid, uid)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.chdir(folder)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o022)
            outcome: Any = work()
        except Exception as error:  # noqa: BLE001  # the parent raises it
            outcome = error
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        outcome = pickle.load(pipe)
    os.waitpid(child, 0)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.fixture(autouse=True)
def where() -> Iterator[None]:
    """Tests may change the current folder."""
    before = Path.cwd()
    yield
    os.chdir(before)


def can_have(folder: Path, name: str, value: bytes) -> bool:
    """Whether the file system takes an attribute."""
    folder.mkdir(exist_ok=True)
    try:
        os.setxattr(folder, name, value)
        os.removexattr(folder, name)
    except OSError:
        return False
    return True


def interrupted(repository: Repository, snapshot: Snapshot, target: Path | str, at: int = 3, **options: Any) -> None:
    """A restore whose target is full after so many writes."""
    real, left = os.pwrite, [at]

    def full(*args: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "full")
        return real(*args)

    os.pwrite = full
    try:
        with pytest.raises(TargetFailed):
            restored(repository, snapshot, target, workers=1, **options)
    finally:
        os.pwrite = real


# What a normal user may not give back


@needs_root
def test_what_a_normal_user_cannot_give_back_is_told_by_kind(tmp_path: Path) -> None:
    """Owner, rights that hang on it, devices, attributes of the system: each counted, and the bytes are there."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "plain").write_bytes(b"bytes")
    (tree / "runs").write_bytes(b"#!")
    (tree / "runs").chmod(0o6755)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(tree / "plain", "trusted.mark", b"1") if can_have(tree, "trusted.mark", b"1") else None
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    home = tmp_path / "home"
    home.mkdir()
    result = as_user(home, lambda: restored(scene.repository, snapshot, "t"))
    assert (home / "t" / "plain").read_bytes() == b"bytes"
    assert result.trouble_counts[Trouble.OWNER] == 3
    assert result.trouble_counts[Trouble.PRIVILEGES] == 1
    assert result.trouble_counts[Trouble.DEVICE] == 1
    assert result.trouble_counts.get(Trouble.XATTR, 0) == (1 if can_have(tree, "trusted.mark", b"1") else 0)
    assert result.has_losses
    assert not result.is_whole
    assert stat.S_IMODE((home / "t" / "runs").stat().st_mode) == 0o755


@needs_root
def test_capability_is_not_given_without_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with setuid: what runs with rights does so for the owner that it had."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "tool").write_bytes(b"#!")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    try:
        os.setxattr(tree / "tool", "security.capability", capability)
    except OSError:
        pytest.skip("a file system without capabilities")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    real = os.chown

    def refuses(target: Any, *ids: int, **options: Any) -> None:
        raise OSError(errno.EPERM, "no")

    (tree / "tool").touch()
    os.chown(tree / "tool", 5, 5)
    os.setxattr(tree / "tool", "security.capability", capability)
    snapshot = saved(scene.repository, tree, "2")
    monkeypatch.setattr(os, "chown", refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    monkeypatch.setattr(os, "chown", real)
    assert "security.capability" not in os.listxattr(tmp_path / "t" / "tool")
    assert result.trouble_counts[Trouble.PRIVILEGES] == 1


def test_attributes_of_read_only_entries_come_back(tmp_path: Path) -> None:
    """Whoever may not write to a file may give it no attributes: they come before the mode."""
    tree = tmp_path / "tree"
    if not can_have(tree, "user.a", b"1"):
        pytest.skip("a file system without attributes")
    (tree / "file").write_bytes(b"x")
    (tree / "folder").mkdir()
    for name in ("file", "folder"):
        os.setxattr(tree / name, "user.a", b"1")
    (tree / "file").chmod(0o444)
    (tree / "folder").chmod(0o555)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    home = tmp_path / "home"
    home.mkdir()
    result = as_user(home, lambda: restored(scene.repository, snapshot, "t"))
    assert {name: os.getxattr(home / "t" / name, "user.a") for name in ("file", "folder")} == {
        "file": b"1",
        "folder": b"1",
    }
    assert set(result.trouble_counts) <= {Trouble.OWNER}


def test_inherited_acl_opens_nothing(tmp_path: Path) -> None:
    """A folder that gives an ACL to all that is made in it does not let others into what had none."""
    tree = tmp_path / "tree"
    home = tmp_path / "home"
    if not can_have(home, "system.posix_acl_default", ANYBODY):
        pytest.skip("a file system without ACLs")
    os.setxattr(home, "system.posix_acl_default", ANYBODY)
    (tree / "folder").mkdir(parents=True)
    (tree / "file").write_bytes(b"secret")
    (tree / "folder" / "large").write_bytes(os.urandom(2_000_000))
    os.mkfifo(tree / "fifo")
    for path in (tree / "file", tree / "folder" / "large", tree / "fifo"):
        path.chmod(0o640)
    scene = Scene()
    restored(scene.repository, saved(scene.repository, tree), home / "t")
    assert differences(seen(tree), seen(home / "t")) == []
    assert os.listxattr(home / "t") == []


def test_group_gets_no_more_than_an_acl_gave_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an ACL cannot be set the group's bits of the mode, which were its mask, are not the group's rights."""
    tree = tmp_path / "tree"
    if not can_have(tree, "system.posix_acl_access", ANYBODY):
        pytest.skip("a file system without ACLs")
    (tree / "file").write_bytes(b"secret")
    os.setxattr(tree / "file", "system.posix_acl_access", ANYBODY)
    assert stat.S_IMODE((tree / "file").stat().st_mode) == 0o770
    scene = Scene()
    snapshot = saved(scene.repository, tree)

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOTSUP, "no attributes")

    monkeypatch.setattr(os, "setxattr", refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert stat.S_IMODE((tmp_path / "t" / "file").stat().st_mode) == 0o700
    assert result.trouble_counts[Trouble.ACL] == 1


@pytest.mark.parametrize(("call", "trouble"), [("chmod", Trouble.MODE), ("utime", Trouble.TIMES)])
def test_attribute_that_is_refused_costs_no_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, trouble: Trouble
) -> None:
    """A file whose mode or time cannot be set is there, and it is told."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x")
    scene = Scene()
    snapshot = saved(scene.repository, tree)

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, call, refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert (tmp_path / "t" / "file").read_bytes() == b"x"
    assert result.trouble_counts[trouble] == 2
    assert result.has_losses


# Going on


def _some(tree: Path) -> None:
    tree.mkdir()
    for number in range(6):
        (tree / f"s{number}").write_bytes(b"%d" % number * 200_000)
    (tree / "z").mkdir()
    (tree / "z" / "last").write_bytes(os.urandom(1_500_000))


@pytest.mark.parametrize("conflict", list(Conflict))
def test_what_was_edited_since_is_treated_as_the_caller_said(tmp_path: Path, conflict: Conflict) -> None:
    """Gone on with, a restore overwrites nothing that somebody changed meanwhile, unless that was to be overwritten."""
    tree = tmp_path / "tree"
    _some(tree)
    os.symlink("nowhere", tree / "link")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    target = tmp_path / "t"
    interrupted(scene.repository, snapshot, target, 4)
    names = set(os.listdir(target))
    edited = min(names & {f"s{number}" for number in range(6)})
    (target / edited).write_bytes(b"edited")
    (target / "link").unlink(missing_ok=True)
    (target / "link").write_bytes(b"mine")
    (target / "z").mkdir(exist_ok=True)
    (target / "z" / "last").unlink(missing_ok=True)
    (target / "z" / "last").write_bytes(b"mine too")
    result = restored(scene.repository, snapshot, target, conflict=conflict)
    changed = {edited: b"edited", "link": b"mine", "z/last": b"mine too"}
    tail = f".restored-{snapshot.id[:8]}"
    if conflict is Conflict.OVERWRITE:
        assert differences(seen(tree), seen(target)) == []
        return
    assert {name: (target / name).read_bytes() for name in changed} == changed
    if conflict is Conflict.RENAME:
        assert (target / f"z/last{tail}").read_bytes() == (tree / "z/last").read_bytes()
        assert (target / f"{edited}{tail}").read_bytes() == (tree / edited).read_bytes()
        assert (target / f"link{tail}").readlink() == Path("nowhere")
        return
    told = Trouble.SKIPPED if conflict is Conflict.SKIP else Trouble.IN_THE_WAY
    assert {os.fsdecode(each.path) for each in result.troubles} == set(changed)
    assert result.trouble_counts == {told: 3}
    assert result.has_losses == (conflict is Conflict.REFUSE)


def test_read_only_entries_are_gone_on_with(tmp_path: Path) -> None:
    """Files and folders that were finished, and are read-only since, are no obstacle to the same restore."""
    tree = tmp_path / "tree"
    _some(tree)
    (tree / "a").mkdir()
    (tree / "a" / "closed").write_bytes(b"closed")
    (tree / "a" / "closed").chmod(0)
    for path in tree.rglob("s*"):
        path.chmod(0o444)
    (tree / "a").chmod(0o500)
    (tree / "z").chmod(0o555)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    home = tmp_path / "home"
    home.mkdir()

    def twice() -> RestoreResult:
        import repository.restore.writing

        repository.restore.writing.WINDOW_PARTS = 2
        interrupted(scene.repository, snapshot, "t", 5)
        assert stat.S_IMODE(os.stat("t/a").st_mode) == 0o500
        for name in ("t/a", "t/z"):
            if os.path.isdir(name):
                Path(name).chmod(0o500)
        return restored(scene.repository, snapshot, "t")

    result: RestoreResult = as_user(home, twice)
    assert set(result.trouble_counts) <= {Trouble.OWNER}, result.troubles
    found, wanted = seen(home / "t"), seen(tree)
    assert [each for each in differences(wanted, found) if "differs in owner" not in each] == []


@pytest.mark.parametrize(
    ("body", "keeps_time", "is_left"),
    [
        (b"", True, True),
        (bytes(200_000), True, True),
        (b"0" * 100_000 + bytes(100_000), True, False),  # half a chunk: it cannot be known, and stays
        (b"", False, False),
        (bytes(200_000), False, False),
        (b"x" * 200_000, True, False),
        (b"0" * 200_000 + b"x", True, False),
    ],
)
def test_power_cut_is_told_from_an_edit(tmp_path: Path, body: bytes, keeps_time: bool, is_left: bool) -> None:
    """What a power cut took is not there or zeros, under the time that the restore gave; all else somebody wrote."""
    tree = tmp_path / "tree"
    _some(tree)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    target = tmp_path / "t"
    while not (target / "s0").exists() or stat.S_IMODE((target / "s0").stat().st_mode) == MODE_WHILE_RESTORING:
        interrupted(scene.repository, snapshot, target, 4)  # files that are cut into several chunks come first
    finished = (target / "s0").stat()
    assert stat.S_IMODE(finished.st_mode) == stat.S_IMODE((tree / "s0").stat().st_mode)
    (target / "s0").write_bytes(body)
    if keeps_time:
        os.utime(target / "s0", ns=(finished.st_mtime_ns, finished.st_mtime_ns))
    result = restored(scene.repository, snapshot, target)
    assert (target / "s0").read_bytes() == ((tree / "s0").read_bytes() if is_left else body)
    assert result.trouble_counts == ({} if is_left else {Trouble.IN_THE_WAY: 1})


@needs_root
@pytest.mark.parametrize("conflict", list(Conflict))
def test_losses_are_told_by_who_goes_on_too(tmp_path: Path, conflict: Conflict) -> None:
    """The first restore was interrupted before it could say what it lost; the one that finishes says all of it."""
    tree = tmp_path / "tree"
    _some(tree)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    home = tmp_path / "home"
    home.mkdir()

    def twice() -> RestoreResult:
        Path("t").mkdir()
        if conflict is not Conflict.REFUSE:
            Path("t/mine").write_bytes(b"mine")
        interrupted(scene.repository, snapshot, "t", 5, conflict=conflict)
        return restored(scene.repository, snapshot, "t", conflict=conflict)

    result: RestoreResult = as_user(home, twice)
    assert {each.path for each in result.troubles if each.trouble is Trouble.OWNER} >= {
        *(b"s%d" % number for number in range(6)),
        b"z/last",
        b"z",
    }


def test_time_that_a_snapshot_cannot_keep_is_told(tmp_path: Path) -> None:
    """A file of the year 2300 comes back with the furthest time that there is, and it is said."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "beyond").write_bytes(b"x")
    os.utime(tree / "beyond", ns=(10_413_792_000_000_000_000, 10_413_792_000_000_000_000))
    if (tree / "beyond").stat().st_mtime_ns < 1 << 63:
        pytest.skip("a file system without such times")
    scene = Scene()
    result = restored(scene.repository, saved(scene.repository, tree), tmp_path / "t")
    assert result.trouble_counts == {Trouble.TIMES: 1}


@pytest.mark.parametrize("conflict", [Conflict.SKIP, Conflict.RENAME, Conflict.OVERWRITE])
def test_folder_that_was_there_and_is_read_only_is_written_to_and_keeps_its_mode(
    tmp_path: Path, conflict: Conflict
) -> None:
    """A folder's owner may always write to it; what was there stays as it was unless it was to be overwritten."""
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "folder" / "new").write_bytes(b"new")
    (tree / "folder").chmod(0o750)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    home = tmp_path / "home"
    home.mkdir()

    def onto() -> RestoreResult:
        Path("t/folder").mkdir(parents=True)
        Path("t/folder").chmod(0o555)
        return restored(scene.repository, snapshot, "t", conflict=conflict)

    as_user(home, onto)
    assert (home / "t" / "folder" / "new").read_bytes() == b"new"
    expected = 0o750 if conflict is Conflict.OVERWRITE else 0o555
    assert stat.S_IMODE((home / "t" / "folder").stat().st_mode) == expected


def test_no_backup_takes_the_mark_of_a_restore_along(tmp_path: Path) -> None:
    """A backup of a target that is being filled has nothing of the restore's own: elsewhere it would be believed."""
    tree = tmp_path / "tree"
    _some(tree)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    target = tmp_path / "t"
    target.mkdir()
    (target / "mine").write_bytes(b"mine")
    (target / ".wedsync-restore-mine").write_bytes(b"a name of somebody's own")
    interrupted(scene.repository, snapshot, target, 4, conflict=Conflict.SKIP)
    own = {name for name in os.listdir(target) if os.fsencode(name).startswith((MARKER_PREFIX, TEMPORARY_PREFIX))}
    assert len(own) >= 3
    restored(scene.repository, saved(scene.repository, tmp_path, "2"), tmp_path / "again")
    copied = set(os.listdir(tmp_path / "again" / "t"))
    assert copied == set(os.listdir(target)) - own | {".wedsync-restore-mine"}
    with pytest.raises(RestoreRefused):
        restored(scene.repository, snapshot, tmp_path / "again" / "t")


# The target itself


def test_target_keeps_its_mode_where_not_all_is_restored(tmp_path: Path) -> None:
    """A part of a snapshot, or a snapshot of one file, says nothing about the folder that it is restored into."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x")
    tree.chmod(0o1777)
    scene = Scene()
    whole, one = saved(scene.repository, tree), saved(scene.repository, tree / "file", "2")
    for name, snapshot, options in (("part", whole, {"globs": ("file",)}), ("one", one, {})):
        target = tmp_path / name
        target.mkdir()
        target.chmod(0o750)
        os.utime(target, ns=(5, 5))
        result = restored(scene.repository, snapshot, target, **options)
        assert (target / "file").read_bytes() == b"x"
        assert stat.S_IMODE(target.stat().st_mode) == 0o750
        assert result.trouble_counts == {}
    restored(scene.repository, whole, tmp_path / "whole")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == 0o1777


# Holes and names


def test_many_holes_come_back_as_holes(tmp_path: Path) -> None:
    """More holes than the tree keeps are found again by their zeros: the file takes no more room than it did."""
    tree = tmp_path / "tree"
    tree.mkdir()
    extents = 1000
    with (tree / "sparse").open("wb") as file:
        for number in range(extents):
            file.seek(number * 65536)
            file.write(b"%04d" % number * 1024)
        file.truncate(extents * 65536)
    allocated = (tree / "sparse").stat().st_blocks
    if allocated * 512 >= extents * 65536:
        pytest.skip("a file system without holes")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    restored(scene.repository, snapshot, tmp_path / "t")
    assert differences(seen(tree), seen(tmp_path / "t")) == []
    assert (tmp_path / "t" / "sparse").stat().st_blocks <= allocated * 1.05
    interrupted(scene.repository, snapshot, tmp_path / "u", 20)
    with (tmp_path / "u" / "sparse").open("r+b") as file:
        file.seek(30_000)
        file.write(b"not a hole")
    restored(scene.repository, snapshot, tmp_path / "u")
    assert differences(seen(tree), seen(tmp_path / "u")) == []
    assert (tmp_path / "u" / "sparse").stat().st_blocks <= allocated * 1.1


def test_several_names_of_links_and_special_files_come_back(tmp_path: Path) -> None:
    """A FIFO, a symlink, a socket or a device with two names is one thing again."""
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    os.mkfifo(tree / "fifo")
    os.symlink("nowhere", tree / "link")
    kinds = ["fifo", "link"]
    if IS_ROOT:
        os.mknod(tree / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        kinds.append("device")
    for name in kinds:
        os.link(tree / name, tree / "below" / name, follow_symlinks=False)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert differences(seen(tree), seen(tmp_path / "t")) == []
    assert result.others == 2 * len(kinds)


@pytest.mark.skipif(sys.platform != "linux", reason="names one file by its inode")
def test_names_are_copies_where_the_target_knows_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links costs the linking alone, and it is told."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"of two names" * 100_000)
    os.link(tree / "a", tree / "b")
    (tree / "folder").mkdir(mode=0o555)
    scene = Scene()
    snapshot = saved(scene.repository, tree)

    def refuses(*_args: object, **_options: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuses)
    result = restored(scene.repository, snapshot, tmp_path / "t")
    assert (tmp_path / "t" / "b").read_bytes() == (tmp_path / "t" / "a").read_bytes() == (tree / "a").read_bytes()
    assert result.trouble_counts == {Trouble.LINK: 1}
    assert result.is_whole


@pytest.mark.parametrize("size", [20_000, 3_000_000])
@pytest.mark.parametrize("target", ["two files", "two names of one file", "fresh"])
def test_further_name_of_a_file_whose_bytes_are_lost_takes_nothing_from_the_target(
    tmp_path: Path, target: str, size: int
) -> None:
    """It was made a link to what has the first name there, which was somebody's own, and told as restored."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    (tree / "a").write_bytes(os.urandom(size))
    os.link(tree / "a", tree / "b")
    (tree / "c").write_bytes(b"whole")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    store = scene.store("a")
    pack = max((info for info in store.list("packs/")), key=lambda info: info.size).key
    body = bytearray(store.get(pack))
    for place in range(200, len(body) - 1000, 10):
        body[place] ^= 0xFF
    store.put(pack, bytes(body))
    out.mkdir()
    own = {} if target == "fresh" else {"a": b"my own", "b": b"my own" if "one" in target else b"precious"}
    if own:
        (out / "a").write_bytes(own["a"])
    if target == "two names of one file":
        os.link(out / "a", out / "b")
    elif own:
        (out / "b").write_bytes(own["b"])
    result = restored(scene.repository, snapshot, out, conflict=Conflict.OVERWRITE)
    assert {name: (out / name).read_bytes() for name in ("a", "b") if (out / name).exists()} == own
    damaged = {each.path for each in result.troubles if each.trouble is Trouble.DAMAGED}
    assert {b"a", b"b"} <= damaged
    assert not result.is_whole


@pytest.mark.parametrize("conflict", list(Conflict))
def test_what_takes_the_first_name_meanwhile_is_not_linked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conflict: Conflict
) -> None:
    """Somebody made a file of that name while the restore wrote: the further name has what was saved."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    (tree / "a").write_bytes(b"saved")
    os.link(tree / "a", tree / "b")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    out.mkdir()
    (out / "other").write_bytes(b"other")
    give = TargetFiles._give_name

    def late(self: TargetFiles, file: TargetFile, folder: int) -> None:
        if file.name == b"a" and not (out / "a").exists():
            (out / "a").write_bytes(b"somebody's")
        give(self, file, folder)

    monkeypatch.setattr(TargetFiles, "_give_name", late)
    if conflict is Conflict.REFUSE:
        (out / "other").unlink()
    restored(scene.repository, snapshot, out, conflict=conflict)
    assert (out / "b").read_bytes() == b"saved"
    assert (out / "a").read_bytes() == (
        b"saved" if conflict in (Conflict.OVERWRITE, Conflict.REFUSE) else b"somebody's"
    )


@pytest.mark.parametrize("size", [5, 3 << 20])
def test_of_a_file_whose_first_name_is_refused_the_others_are_names_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Each became a file of its own, with all its bytes, and nobody was told."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    (tree / "a").write_bytes(os.urandom(size))
    for name in "bcd":
        os.link(tree / "a", tree / name)
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    out.mkdir()
    (out / "a").write_bytes(b"immutable")
    give = TargetFiles._give_name

    def refused(self: TargetFiles, file: TargetFile, folder: int) -> None:
        if file.name == b"a":
            raise PermissionError(errno.EPERM, "immutable")
        give(self, file, folder)

    monkeypatch.setattr(TargetFiles, "_give_name", refused)
    result = restored(scene.repository, snapshot, out, conflict=Conflict.OVERWRITE)
    assert [each.path for each in result.troubles] == [b"a"]
    assert (out / "a").read_bytes() == b"immutable"
    assert (out / "b").read_bytes() == (tree / "a").read_bytes()
    assert [(out / name).samefile(out / "b") for name in "cd"] == [True, True]
    assert result.bytes < 3 * size


def test_link_that_cannot_take_its_name_leaves_what_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is overwritten was taken away before the link was made: where that failed, nothing was left."""
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    (tree / "a").write_bytes(b"saved")
    os.link(tree / "a", tree / "b")
    scene = Scene()
    snapshot = saved(scene.repository, tree)
    out.mkdir()
    (out / "b").write_bytes(b"precious")

    def refuse(error: int) -> Callable[..., None]:
        def refused(*_: object, **__: object) -> None:
            raise OSError(error, "refused")

        return refused

    with monkeypatch.context() as patch:
        replaced = os.replace
        patch.setattr(
            "repository.restore.writing.os.replace",
            lambda *names, **options: refuse(errno.EACCES)() if b"b" in names else replaced(*names, **options),
        )
        result = restored(scene.repository, snapshot, out, conflict=Conflict.OVERWRITE)
    assert result.trouble_counts == {Trouble.NOT_CREATED: 1}
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == ["a", "b"]
    assert (out / "b").read_bytes() == b"precious"
    assert restored(scene.repository, snapshot, out, conflict=Conflict.OVERWRITE).is_whole
    assert (out / "a").samefile(out / "b")


@pytest.mark.parametrize("conflict", [Conflict.SKIP, Conflict.RENAME])
def test_files_get_their_names_where_no_file_has_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conflict: Conflict
) -> None:
    """On exFAT, say: beside what is there already, which keeps its name and its bytes."""
    (tmp_path / "source").mkdir()
    for name in ("a", "b", "taken"):
        (tmp_path / "source" / name).write_bytes(name.encode() * 100)
    scene = Scene()
    snapshot = saved(scene.repository, tmp_path / "source")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "taken").write_bytes(b"mine")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no second names here")

    monkeypatch.setattr(os, "link", refuse)
    restored(scene.repository, snapshot, tmp_path / "out", conflict=conflict)
    assert (tmp_path / "out" / "taken").read_bytes() == b"mine"
    for name in ("a", "b"):
        assert (tmp_path / "out" / name).read_bytes() == name.encode() * 100
    left = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name.startswith("."))
    assert left == []
