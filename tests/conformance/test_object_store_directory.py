"""What a tier in a directory promises beyond the common contract."""

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from repository.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    ObjectMissing,
    PlaceBlocked,
    Retry,
    TierFull,
    TierReadOnly,
    TierUnreachable,
)
from repository.tiers.folder import disk as disk_module
from repository.tiers.folder.disk import LocalDisk, rename_if_absent
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.failing_disk import FailingDisk
from tests.support.recording_disk import RecordingDisk, rebuild

BODY = bytes(range(256)) * 300


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "tier"


@pytest.fixture
def store(root: Path) -> DirectoryObjectStore:
    return DirectoryObjectStore(str(root))


def temporary_files(root: Path) -> list[Path]:
    return sorted(root.rglob(".tmp-*"))


# Files


def test_whatever_has_an_objects_name_is_set_aside(root: Path, store: DirectoryObjectStore) -> None:
    """A folder or a huge file in an object's place is moved or linked, not read."""
    (root / "log" / "1").mkdir(parents=True)
    with (root / "log" / "2").open("wb") as huge:
        huge.truncate(60 << 30)
    assert store.blocked_by("log/1") == f"a folder at {root}/log/1"
    assert list(store.no_objects("log")) == ["log/1"]
    store.set_aside("log/1", "quarantine/log/1.a")
    assert store.blocked_by("log/1") is None
    (root / "no-folder").write_bytes(b"")
    assert store.blocked_by("no-folder/1") == f"a file at {root}/no-folder"
    assert list(store.no_objects("no-folder")) == []
    store.set_aside("log/2", "quarantine/log/2.a")
    store.put("log/1", b"mended")
    store.put("log/2", b"mended")
    assert (root / "quarantine/log/1.a").is_dir()
    assert (root / "quarantine/log/2.a").stat().st_size == 60 << 30
    assert (store.get("log/1"), store.get("log/2")) == (b"mended", b"mended")


@pytest.mark.parametrize("make", [os.mkfifo, lambda place: place.symlink_to("elsewhere"), os.mkdir])
def test_nothing_is_put_over_what_is_no_object(
    root: Path, store: DirectoryObjectStore, make: Callable[[Path], None]
) -> None:
    """It may be evidence, or say where the bytes were moved to; what is set aside lies there as it was."""
    store.put("packs/ab/2", b"another")
    make(root / "packs/ab/1")
    kind = os.lstat(root / "packs/ab/1").st_mode
    with pytest.raises(PlaceBlocked, match="lies where the object belongs"):
        store.put("packs/ab/1", b"brought")
    store.delete("packs/ab/1")
    assert os.lstat(root / "packs/ab/1").st_mode == kind
    store.set_aside("packs/ab/1", "quarantine/1")
    assert (os.lstat(root / "quarantine/1").st_mode, store.blocked_by("packs/ab/1")) == (kind, None)
    store.put("packs/ab/1", b"brought")
    assert store.get("packs/ab/1") == b"brought"


def test_directory_tier_is_its_owners_alone(root: Path, store: DirectoryObjectStore) -> None:
    """Files have mode 0600 and folders 0700, whatever the umask."""
    before = os.umask(0)
    try:
        store.put("packs/aa/x", BODY)
        store.put("config", BODY, if_absent=True)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert modes == {"tier": 0o700, "packs": 0o700, "aa": 0o700, "x": 0o600, "config": 0o600}


def test_directory_tier_creates_nothing_by_reading(root: Path, store: DirectoryObjectStore) -> None:
    """Looking at a place that does not exist does not make it."""
    assert list(store.list("")) == []
    assert store.head("config") is None
    with pytest.raises(ObjectMissing):
        store.get("config")
    store.delete("config")
    store.close()
    assert not root.exists()


def test_directory_tier_leaves_no_temporary_files(root: Path, store: DirectoryObjectStore) -> None:
    """However a put ends, its temporary file is gone."""
    store.put("a/x", BODY, if_absent=True)
    store.put("a/x", BODY, if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("a/x", b"other", if_absent=True)
    store.put("a/x", b"other")
    for step in ("write", "sync", "link", "rename"):
        failing = DirectoryObjectStore(str(root), disk=FailingDisk(step, errno.EIO))
        with pytest.raises(TierUnreachable):
            failing.put("a/y", BODY, if_absent=step != "rename")
        assert failing.head("a/y") is None
    assert temporary_files(root) == []


def test_directory_tier_ignores_and_sweeps_what_a_crash_left(root: Path, store: DirectoryObjectStore) -> None:
    """Temporary files of dead writers are no objects, and go with the next write into their folder; others' stay."""
    store.put("a/x", BODY)
    (root / "a" / f".tmp-{'0123456789ab' * 2}").write_bytes(b"unfinished")
    (root / "a" / ".tmp-of-another").write_bytes(b"not ours")
    of_the_root = root / f".tmp-{'f' * 24}"
    of_the_root.write_bytes(b"unfinished")
    assert [info.key for info in store.list("")] == ["a/x"]
    later = DirectoryObjectStore(str(root))
    later.put("a/y", BODY)
    assert temporary_files(root) == [of_the_root, root / "a" / ".tmp-of-another"]
    later.put("config", BODY)
    assert temporary_files(root) == [root / "a" / ".tmp-of-another"]
    assert [info.key for info in later.list("")] == ["a/x", "a/y", "config"]


def test_directory_tier_sweeps_no_file_of_a_living_writer(root: Path) -> None:
    """A temporary file stays while its writer lives, also when that is in another process."""
    disk = LocalDisk()
    (root / "a").mkdir(parents=True)
    descriptor = disk.create(str(root / "a" / f".tmp-{'a' * 24}"))
    DirectoryObjectStore(str(root)).put("a/x", BODY)
    assert temporary_files(root) == [root / "a" / f".tmp-{'a' * 24}"]
    os.close(descriptor)
    DirectoryObjectStore(str(root)).put("a/y", BODY)
    assert temporary_files(root) == []


def test_directory_tier_writes_again_when_its_file_was_swept(root: Path) -> None:
    """A sweeper that is faster than the lock costs the writer another attempt and nothing else."""

    class Swept(LocalDisk):
        swept = 0

        def sync(self, descriptor: int) -> None:
            """Sync the file, which somebody removes."""
            super().sync(descriptor)
            if self.swept < 2:
                self.swept += 1
                temporary_files(root)[0].unlink()

    store = DirectoryObjectStore(str(root), disk=Swept())
    store.put("a/x", BODY, if_absent=True)
    assert store.get("a/x") == BODY
    store = DirectoryObjectStore(str(root), disk=Swept())
    store.put("a/y", BODY)
    assert store.get("a/y") == BODY


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "folder"])
def test_directory_tier_reads_files_only(root: Path, store: DirectoryObjectStore, tmp_path: Path, kind: str) -> None:
    """What somebody put in an object's place (a link, a FIFO, a folder) is no object, and holds nobody up."""
    store.put("a/x", BODY)
    (tmp_path / "secret").write_bytes(b"elsewhere")
    place = root / "a" / "y"
    match kind:
        case "link":
            place.symlink_to(tmp_path / "secret")
        case "dangling":
            place.symlink_to(tmp_path / "nowhere")
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
    assert store.head("a/y") is None
    assert [info.key for info in store.list("")] == ["a/x"]
    with pytest.raises(ObjectMissing):
        store.get("a/y")
    with pytest.raises(InvalidKey if kind == "folder" else AlreadyExists):
        store.put("a/y", b"elsewhere", if_absent=True)


def test_directory_tier_lists_nothing_that_is_no_key(root: Path, store: DirectoryObjectStore) -> None:
    """Names that no object can have are left out: whoever asked for them would only be told so."""
    store.put("a/x", BODY)
    for name in ("a/no key", "a/\u00fc", "a/" + "x" * 201, "no folder/x"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(BODY)
    assert [info.key for info in store.list("")] == ["a/x"]
    assert [info.key for info in store.list("a/")] == ["a/x"]


def test_directory_tier_refuses_an_object_below_an_object(store: DirectoryObjectStore) -> None:
    """A key below another object's key, or one that is a folder, cannot be stored here, and says so."""
    store.put("a/x", BODY)
    for key, if_absent in (("a/x/y", False), ("a", False), ("a", True)):
        with pytest.raises(InvalidKey):
            store.put(key, BODY, if_absent=if_absent)
    assert store.get("a/x") == BODY


def test_directory_tier_renames_where_there_are_no_hard_links(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links conditional creation is a rename that does not replace."""

    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(disk_module.os, "link", no_links)
    store = DirectoryObjectStore(str(root))
    store.put("log/1", b"first", if_absent=True)
    store.put("log/1", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("log/1", b"other", if_absent=True)
    assert store.get("log/1") == b"first"
    assert temporary_files(root) == []


def test_rename_if_absent_says_what_is_wrong(tmp_path: Path) -> None:
    """The rename that does not replace reports errors as the system's."""
    (tmp_path / "target").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        rename_if_absent(str(tmp_path / "missing"), str(tmp_path / "new"))
    (tmp_path / "source").write_bytes(b"y")
    with pytest.raises(FileExistsError):
        rename_if_absent(str(tmp_path / "source"), str(tmp_path / "target"))
    assert (tmp_path / "target").read_bytes() == b"x"


def test_local_disk_goes_on_after_a_short_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write of which the system took a part is continued where it stopped, across buffers."""
    write = os.writev
    monkeypatch.setattr(disk_module.os, "writev", lambda fd, parts: write(fd, [b"".join(parts)[:7]]))
    disk = LocalDisk()
    descriptor = disk.create(str(tmp_path / "x"))
    parts = [b"abc", b"defghijklmnop", b"q", b"r" * 20]
    disk.write(descriptor, [memoryview(part) for part in parts])
    os.close(descriptor)
    assert (tmp_path / "x").read_bytes() == b"".join(parts)


# Errors


@pytest.mark.parametrize(
    ("step", "number", "error", "retry"),
    [
        ("create", errno.ENOSPC, TierFull, Retry.AFTER_OPERATOR),
        ("write", errno.ENOSPC, TierFull, Retry.AFTER_OPERATOR),
        ("sync", errno.EDQUOT, TierFull, Retry.AFTER_OPERATOR),
        ("make_folder", errno.EROFS, TierReadOnly, Retry.AFTER_OPERATOR),
        ("create", errno.EACCES, AccessDenied, Retry.AFTER_OPERATOR),
        ("sync", errno.EIO, TierUnreachable, Retry.AFTER_OPERATOR),
        ("sync_folder", errno.EIO, TierUnreachable, Retry.AFTER_OPERATOR),
        ("write", errno.ESTALE, TierUnreachable, Retry.LATER),
        ("link", errno.ENAMETOOLONG, InvalidKey, Retry.NEVER),
    ],
)
def test_directory_tier_translates_errors(
    root: Path, step: str, number: int, error: type[TierFull], retry: Retry
) -> None:
    """Each error of the system has its meaning, and names the tier and the key."""
    store = DirectoryObjectStore(str(root), "cellar", disk=FailingDisk(step, number))
    with pytest.raises(error) as caught:
        store.put("a/x", BODY, if_absent=True)
    assert caught.value.retry == retry
    assert caught.value.context == {"tier": "cellar", "key": "a/x", "errno": number}
    assert str(root) not in str(caught.value)


def test_directory_tier_owes_the_folders_that_it_could_not_sync(root: Path) -> None:
    """A `sync` that failed is not forgotten: the next one syncs the same folders."""
    disk = RecordingDisk()
    store = DirectoryObjectStore(str(root), disk=disk)
    store.put("a/x", BODY, durable=False)
    failing = FailingDisk("sync_folder", errno.EIO)
    store._folders._sync_folder = failing.sync_folder
    for _ in range(2):
        with pytest.raises(TierUnreachable):
            store.sync()
    store._folders._sync_folder = disk.sync_folder
    before = len(disk.steps)
    store.sync()
    assert {str(root), str(root / "a")} <= {step.path for step in disk.steps[before:]}


def test_directory_tier_settles_what_another_writer_did_not_sync(root: Path) -> None:
    """The folders of the named objects, and those above, are synced; an object that is not there is no error."""
    DirectoryObjectStore(str(root)).put("a/b/x", BODY, durable=False)
    disk = RecordingDisk()
    store = DirectoryObjectStore(str(root), disk=disk)
    store.settle(["a/b/x", "a/c/absent"])
    assert {str(root), str(root / "a"), str(root / "a" / "b")} <= {step.path for step in disk.steps}
    assert {step.kind for step in disk.steps} == {"sync-folder"}
    disk.steps.clear()
    # Somebody may have put another object there meanwhile.
    store.settle(["a/b/x"])
    assert [step.path for step in disk.steps] == [str(root / "a" / "b")]
    store._folders._sync_folder = FailingDisk("sync_folder", errno.EIO).sync_folder
    with pytest.raises(TierUnreachable):
        store.settle(["a/b/x"])


def test_directory_tier_notices_that_its_disk_was_unmounted(root: Path, tmp_path: Path) -> None:
    """A root that vanished or became another folder is an unreachable tier, not an empty one."""
    store = DirectoryObjectStore(str(root))
    store.put("a/x", BODY)
    root.rename(tmp_path / "unplugged")
    calls = [
        lambda: store.get("a/x"),
        lambda: store.head("a/x"),
        lambda: list(store.list("")),
        lambda: store.delete("a/x"),
        lambda: store.put("a/y", BODY),
        lambda: store.put("new/y", BODY),
    ]
    for mount_point_is_there in (False, True):
        if mount_point_is_there:
            root.mkdir()
        for call in calls:
            with pytest.raises(TierUnreachable):
                call()
    assert list(root.iterdir()) == []
    root.rmdir()
    (tmp_path / "unplugged").rename(root)
    assert store.get("a/x") == BODY


# Durability


def test_directory_tier_syncs_folders_together(root: Path) -> None:
    """Puts into one folder that finish together share the syncing of it."""
    entered, may_go_on = threading.Event(), threading.Event()

    class SlowFolders(LocalDisk):
        synced = 0

        def sync_folder(self, path: str) -> None:
            """Sync the folder when the test says so."""
            if path == str(root / "a"):
                self.synced += 1
                entered.set()
                may_go_on.wait(60)
            super().sync_folder(path)

    disk = SlowFolders()
    store = DirectoryObjectStore(str(root), disk=disk)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(store.put, "a/first", BODY)
        assert entered.wait(60)
        others = [pool.submit(store.put, f"a/{number}", BODY) for number in range(8)]
        while len(list((root / "a").glob("[0-9]"))) < 8 or temporary_files(root):
            pass
        may_go_on.set()
        for put in [first, *others]:
            put.result(20)
    # The first round, the one that gathered while it ran, and one for whoever came between the two.
    assert disk.synced <= 3


def scenario(store: DirectoryObjectStore, disk: RecordingDisk) -> None:
    """Puts, replacements and deletions, each noted when it has returned."""
    for number in range(4):
        store.put(f"packs/{number % 2}/{number}", b"%d" % number * 500)
        disk.note(f"put packs/{number % 2}/{number} {number}")
    store.put("log/1", b"1" * 500, if_absent=True)
    disk.note("put log/1 1")
    store.put("packs/0/0", b"5" * 500)
    disk.note("put packs/0/0 5")
    for number in (6, 7):
        store.put(f"packs/{number}/{number}", b"%d" % number * 500, durable=False)
    store.put("packs/0/8", b"8" * 500, durable=False)
    store.sync()
    for key in ("packs/6/6 6", "packs/7/7 7", "packs/0/8 8"):
        disk.note(f"put {key}")
    store.delete("packs/1/1")
    disk.note("delete packs/1/1 x")
    store.put("log/2", b"9" * 500, if_absent=True)
    disk.note("put log/2 9")


def test_directory_tier_survives_a_power_cut_at_every_step(root: Path, tmp_path: Path) -> None:
    """After a power cut at any step, what was acknowledged is there, and nothing is there in part."""
    disk = RecordingDisk()
    root.parent.mkdir(exist_ok=True)
    scenario(DirectoryObjectStore(str(root), disk=disk), disk)
    written = {step.content for step in disk.steps if step.kind == "write"}
    cuts = [(cut, seed) for cut in range(len(disk.steps) + 1) for seed in range(4)]
    for cut, seed in cuts:
        steps = disk.steps[:cut]
        after = tmp_path / f"after-{cut}-{seed}"
        rebuild(steps, str(tmp_path), after, Random(f"{cut} {seed}"))
        store = DirectoryObjectStore(str(after / "tier"))
        acknowledged = {}
        touched_later = set()
        for step in disk.steps[:cut]:
            if step.kind == "note":
                verb, key, number = step.path.split()
                acknowledged[key] = number.encode() * 500 if verb == "put" else None
            elif step.kind in {"link", "rename", "unlink"}:
                touched_later.add((step.target or step.path).removeprefix(f"{root}/"))
        noted = max((i for i, step in enumerate(steps) if step.kind == "note"), default=-1)
        in_flight = {(s.target or s.path).removeprefix(f"{root}/") for s in steps[noted + 1 :] if s.path or s.target}
        listed = {info.key: store.get(info.key) for info in store.list("")}
        assert set(listed.values()) <= written, (cut, seed)
        for key, body in acknowledged.items():
            if key not in in_flight:
                assert listed.get(key) == body, (cut, seed, key)
        assert set(listed) <= touched_later, (cut, seed)
        store.put("packs/0/next", b"next")
        assert store.get("packs/0/next") == b"next"
        assert [path for path in temporary_files(after) if path.parent.name == "0"] == []


def test_directory_tier_settles_what_a_dead_writer_left(root: Path, tmp_path: Path) -> None:
    """Objects that another process named and did not sync survive a power cut once they are settled."""
    for seed in range(20):
        disk = RecordingDisk()
        place = root / f"{seed}"
        root.mkdir(exist_ok=True)
        dead = DirectoryObjectStore(str(place), disk=disk)
        for number in range(4):
            dead.put(f"packs/{number}/x", BODY, durable=False)
        heir = DirectoryObjectStore(str(place), disk=disk)
        heir.settle(["packs/1/x", "packs/3/x", "packs/3/missing", "packs/none/x"])
        after = tmp_path / f"after-{seed}"
        rebuild(disk.steps, str(root), after, Random(seed))
        rebuilt = DirectoryObjectStore(str(after / f"{seed}"))
        assert rebuilt.get("packs/1/x") == rebuilt.get("packs/3/x") == BODY
        assert not (after / f"{seed}" / "packs" / "none").exists()


def test_directory_tier_is_durable_when_many_threads_put(root: Path, tmp_path: Path) -> None:
    """With many puts at once, into folders that are new to all of them, each acknowledgement is durable."""
    disk = RecordingDisk()
    store = DirectoryObjectStore(str(root), disk=disk)

    def put(number: int) -> None:
        store.put(f"packs/{number % 5}/{number}", b"%d" % number * 300)
        disk.note(f"{number}")

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(put, range(30)):
            pass
    for cut in range(0, len(disk.steps) + 1, 3):
        after = tmp_path / f"after-{cut}"
        rebuild(disk.steps[:cut], str(tmp_path), after, Random(cut))
        rebuilt = DirectoryObjectStore(str(after / "tier"))
        for step in disk.steps[:cut]:
            if step.kind == "note":
                number = int(step.path)
                assert rebuilt.get(f"packs/{number % 5}/{number}") == b"%d" % number * 300


@pytest.mark.parametrize(("number", "what"), [(errno.ENOSPC, "MiB and"), (errno.EDQUOT, "quota")])
def test_tier_without_room_says_whether_it_is_the_disk_or_the_quota(tmp_path: Path, number: int, what: str) -> None:
    """A full disk is told with its figures; a quota that is used up needs another remedy."""
    store = DirectoryObjectStore(str(tmp_path / "tier"), "local", disk=FailingDisk("write", number))
    with pytest.raises(TierFull) as caught:
        store.put("packs/a", b"x")
    assert what in caught.value.hint
    assert "tier local" in str(caught.value)


def test_folder_that_has_to_be_there_is_never_made(tmp_path: Path) -> None:
    """A mount point that is missing: neither a reader nor a writer makes it, nor takes the tier for an empty one."""
    store = DirectoryObjectStore(str(tmp_path / "disk" / "tier"), "local", within=str(tmp_path / "disk"))
    for call in (lambda: store.put("config", b"x"), lambda: store.head("config"), lambda: list(store.list(""))):
        with pytest.raises(TierUnreachable, match="not there"):
            call()
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk").mkdir()
    store.put("config", b"x")
    assert store.get("config") == b"x"
