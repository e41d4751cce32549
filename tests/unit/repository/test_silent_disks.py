"""A tier in a folder whose disk hangs: refused in time, nothing half written gets a name, the other tiers go on."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.errors import AlreadyExists, LocationInvalid, RepositoryError, TierUnreachable
from repository.restore.restore import restore
from repository.tiers import places
from repository.tiers.folder import hands
from repository.tiers.folder.answering import AnsweringStore
from repository.tiers.folder.disk import LocalDisk
from repository.tiers.folder.hands import Call, Hands, Silent
from repository.tiers.memory import MemoryObjectStore
from sources.directory import DirectorySource
from tests.support.eventually import eventually
from tests.support.repositories import Scene

SECONDS = 0.3


class Frozen:
    """A folder in which each `step` of the disk hangs until it is let go."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.step = "create"
        self.waits = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()

    def hang(self, step: str) -> None:
        """From now on, at that step."""
        self.step = step
        self.waits.clear()
        self.goes_on.clear()

    def at(self, step: str, where: str) -> None:
        """What the disk does."""
        if step == self.step and where.startswith(self.root) and not self.goes_on.is_set():
            self.waits.set()
            self.goes_on.wait(30)


@pytest.fixture
def frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Frozen]:
    """The folder `b`."""
    found = Frozen(tmp_path / "b")
    create, rename, sync, names = LocalDisk.create, LocalDisk.rename, LocalDisk.sync, dict[int, str]()

    def created(self: LocalDisk, path: str) -> int:
        found.at("create", path)
        descriptor = create(self, path)
        names[descriptor] = path
        return descriptor

    def synced(self: LocalDisk, descriptor: int) -> None:
        found.at("sync", names[descriptor])
        sync(self, descriptor)

    def renamed(self: LocalDisk, source: str, target: str) -> None:
        found.at("rename", source)
        rename(self, source, target)

    for name, step in (("create", created), ("sync", synced), ("rename", renamed)):
        monkeypatch.setattr(LocalDisk, name, step)
    yield found
    found.goes_on.set()


def _files(root: Path) -> list[str]:
    return sorted(each.name for each in root.rglob("*") if each.is_file())


@pytest.mark.parametrize("step", ["create", "sync"])
async def test_what_hangs_is_refused_and_gives_nothing_a_name(tmp_path: Path, frozen: Frozen, step: str) -> None:
    """Its bytes may be others by the time the disk goes on; then the tier works again, and has no temporary file."""
    store = AnsweringStore(str(tmp_path / "b"), "b", silent_seconds=SECONDS)
    store.put("keys/a", b"before")
    frozen.hang(step)
    body = bytearray(b"packed")
    with pytest.raises(TierUnreachable, match="its disk does not answer") as refused:
        store.put("keys/b", body)
    assert (refused.value.context["tier"], "catch-up" in refused.value.hint) == ("b", True)
    body[:] = b"reused"
    for ask in (lambda: store.get("keys/a"), lambda: list(store.list("")), store.sync, lambda: store.delete("keys/a")):
        with pytest.raises(TierUnreachable):
            ask()
    store.close()
    assert "b" not in _files(tmp_path / "b")
    frozen.goes_on.set()
    await eventually(lambda: not store._hands.hang)
    assert _files(tmp_path / "b") == ["a"]
    store.put("keys/b", b"packed")
    assert [each.key for each in store.list("")] == ["keys/a", "keys/b"]
    store.close()


async def test_name_that_is_being_given_is_of_the_right_bytes(tmp_path: Path, frozen: Frozen) -> None:
    """Nobody can take that back; what lies there was written and synced before."""
    store = AnsweringStore(str(tmp_path / "b"), "b", silent_seconds=SECONDS)
    frozen.hang("rename")
    body = bytearray(b"packed")
    with pytest.raises(TierUnreachable):
        store.put("keys/b", body)
    body[:] = b"reused"
    frozen.goes_on.set()
    await eventually(lambda: not store._hands.hang)
    assert store.get("keys/b") == b"packed"
    with pytest.raises(AlreadyExists):
        store.put("keys/b", b"reused", if_absent=True)
    store.close()


def test_disk_does_not_count_as_silent_after_ctrl_c(
    tmp_path: Path, frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was interrupted gives nothing a name; what is done on the way out is done, and what is owed is synced."""
    store = AnsweringStore(str(tmp_path / "b"), "b")
    store.put("keys/a", b"before", durable=False)
    frozen.hang("create")

    def interrupted(_hands: Hands, call: Call) -> None:
        assert frozen.waits.wait(30)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Hands, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put("keys/b", b"interrupted")
    frozen.goes_on.set()
    assert store.get("keys/a") == b"before"
    store.close()
    assert "b" not in _files(tmp_path / "b")


def test_call_that_goes_on_step_by_step_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk is none that hangs: the time is that of one step."""
    moments = iter(range(0, 10_000, 40))
    monkeypatch.setattr(hands.time, "monotonic", lambda: next(moments))
    made = Hands("a", seconds=90.0)
    call = Call(lambda: None)

    def wait(seconds: float) -> bool:
        assert seconds == 10.0
        call.step()
        return call.steps == 20

    call.done.wait = wait  # type: ignore[assignment]  # a clock
    made._wait(call)
    waits: list[float] = []

    def waits_in_vain(seconds: float) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr(call.done, "wait", waits_in_vain)
    with pytest.raises(Silent):
        made._wait(call)
    # Begun at 0, as the clock of this test goes; 120 seconds are the first multiple of 40 that is too long.
    assert len(waits) == 3 + 1  # the first finds that the call has gone on since it was made


def test_work_with_a_disk_may_take_its_time() -> None:
    """What it asks of the disk has to be answered in time, and needs no other thread."""
    made = Hands("a", seconds=SECONDS)
    threads = []

    def work() -> None:
        for _ in range(2):
            threading.Event().wait(SECONDS * 1.2)
            threads.append(made.do(threading.get_ident))
            threads.append(threading.get_ident())

    made.work(work)
    assert len(threads) == 4
    assert len(set(threads) - {threading.get_ident()}) == 1


async def test_work_that_a_disk_held_up_does_nothing_more() -> None:
    """Somebody else goes on with it: its second half would come twice."""
    made, goes_on = Hands("a", seconds=0.05), threading.Event()
    done: list[object] = []

    def work() -> None:
        with suppress(OSError, RepositoryError):
            done.append(made.do(lambda: goes_on.wait(30)))
        done.append("the second half")

    with pytest.raises(Silent):
        made.work(work)
    assert made.hang
    goes_on.set()
    await eventually(lambda: not made.hang)
    assert done == []
    assert made.do(lambda: "answers") == "answers"


async def test_threads_that_nobody_needs_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """And who asks afterwards has another one."""
    monkeypatch.setattr(hands, "_IDLE_SECONDS", 0.05)
    made = Hands("idle", seconds=SECONDS)
    for _ in range(2):
        assert made.do(lambda: threading.current_thread().name) == "disk-idle"
        await eventually(lambda: all(each.name != "disk-idle" for each in threading.enumerate()))
        assert made._free == []


def test_other_tier_gets_its_backup(tmp_path: Path, frozen: Frozen) -> None:
    """From the first write of a run on, and it is told who did not get it; catch-up is owed."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "photo").write_bytes(b"once in a lifetime")
    stores = [
        AnsweringStore(str(tmp_path / "a"), "a"),
        AnsweringStore(str(tmp_path / "b"), "b", silent_seconds=SECONDS),
    ]
    scene = Scene(stores=stores)
    frozen.hang("create")
    source = DirectorySource(bytes(tmp_path / "source"))
    result = backup(scene.repository, source, options=BackupOptions(label="photos", run_token="run"))
    assert {name: each.state for name, each in result.tiers.items()} == {"a": Delivery.COMMITTED, "b": Delivery.FAILED}
    assert isinstance(result.tiers["b"].error, TierUnreachable)
    assert frozen.waits.is_set()


def test_restore_from_a_disk_that_hangs_goes_on_from_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read of packs is asked of the store as all else is."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "photo").write_bytes(bytes(range(256)) * 9000)
    scene = Scene(stores=[AnsweringStore(str(tmp_path / name), name, silent_seconds=SECONDS) for name in "ab"])
    snapshot = backup(
        scene.repository, DirectorySource(bytes(tmp_path / "source")), options=BackupOptions(label="p", run_token="r")
    ).snapshot
    read, goes_on = os.preadv, threading.Event()

    def hangs(descriptor: int, *rest: Any) -> int:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(f"{tmp_path}/a/packs"):
            goes_on.wait(30)
        return read(descriptor, *rest)

    monkeypatch.setattr(os, "preadv", hangs)
    try:
        result = restore(scene.repository, snapshot, bytes(tmp_path / "out"))
    finally:
        goes_on.set()
    assert result.is_whole
    assert (tmp_path / "out" / "photo").read_bytes() == bytes(range(256)) * 9000
    assert result.chunks_from_other_tiers


def test_a_look_where_tiers_are_passes_over_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing of the disk: opening the tier waits for it, and tells."""
    stat, listed, goes_on = os.stat, os.listdir, threading.Event()

    def asks(ask: Callable[..., Any]) -> Callable[..., Any]:
        def hangs(path: Any, *rest: Any, **more: Any) -> Any:
            if str(path).startswith(f"{tmp_path}/dead"):
                goes_on.wait(30)
            return ask(path, *rest, **more)

        return hangs

    monkeypatch.setattr(places, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(os, "stat", asks(stat))
    monkeypatch.setattr(os, "listdir", asks(listed))
    monkeypatch.setattr(places, "_is_repository", asks(places._is_repository))
    dead, well = f"file://{tmp_path}/dead", f"file://{tmp_path}/well"
    try:
        places.refuse_one_place_twice([("a", dead), ("b", well)])
        with pytest.raises(LocationInvalid):
            places.refuse_one_place_twice([("a", dead), ("b", f"{dead}/../dead")])
        places.refuse_nested([("a", dead), ("b", well)])
        with pytest.raises(LocationInvalid):
            places.refuse_nested([("a", dead), ("b", f"{dead}/within")])
        with pytest.raises(LocationInvalid):
            places.refuse_key_within(f"{tmp_path}/dead/key", [dead])
        places.refuse_among_others(MemoryObjectStore("a"), dead)
        places.refuse_within_repository("a", f"{dead}/within")
    finally:
        goes_on.set()
