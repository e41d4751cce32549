"""The contract of a tier, the same for every adapter; see `repository/tiers/port.py`."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from repository.errors import AlreadyExists, ChecksumMismatch, Damaged, InvalidKey, Locked, ObjectMissing, Truncated
from repository.ports import SYSTEM_CLOCK
from repository.tiers.port import Body, ObjectStore
from tests.conformance.conftest import Place
from tests.support.eventually import eventually

BYTES = bytes(range(256)) * 400


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def keys(store: ObjectStore, prefix: str = "", **options: str) -> list[str]:
    return [info.key for info in store.list(prefix, **options)]


# Storing and reading


@pytest.mark.parametrize("size", [0, 1, 4095, 65_537, (5 << 20) + 3])
def test_object_store_returns_what_was_put(store: ObjectStore, size: int) -> None:
    """An object of any size comes back byte for byte, and its size is known."""
    body = (BYTES * (size // len(BYTES) + 1))[:size]
    store.put("packs/ab/cdef", body, sha256=digest(body))
    assert store.get("packs/ab/cdef") == body
    found = store.head("packs/ab/cdef")
    assert found is not None
    assert (found.key, found.size) == ("packs/ab/cdef", size)


@pytest.mark.parametrize(
    "body",
    [
        bytearray(BYTES),
        memoryview(BYTES)[1:-1],
        [],
        [b"", b"a", b"", b"b"],
        (BYTES, bytearray(b"middle"), memoryview(BYTES)),
        [BYTES[:7]] * 3000,
        [b"h" * 32, BYTES, b"h" * 32, b"x" * 70_000, b"t" * 24],
    ],
    ids=["bytearray", "memoryview", "nothing", "empty-parts", "mixed", "3000-parts", "frames"],
)
def test_object_store_joins_the_buffers_of_a_body(store: ObjectStore, body: Body) -> None:
    """A body in several buffers is stored as their concatenation."""
    expected = b"".join(body) if isinstance(body, list | tuple) else bytes(body)
    store.put("x", body, sha256=digest(expected))
    assert store.get("x") == expected


def test_object_store_reads_no_object_that_is_longer_than_its_reader_takes(store: ObjectStore) -> None:
    """Exactly as long is taken; one byte more is damage that names the object and both lengths."""
    store.put("keys/long", BYTES)
    assert store.get("keys/long", length_max=len(BYTES)) == BYTES
    with pytest.raises(Damaged, match="longer") as refusal:
        store.get("keys/long", length_max=len(BYTES) - 1)
    told = refusal.value.context
    assert (told["object_key"], told["length"], told["length_max"]) == ("keys/long", len(BYTES), len(BYTES) - 1)
    assert store.get_range("keys/long", 3, 5) == BYTES[3:8]


def test_object_store_sets_an_object_aside_before_it_is_replaced(place: Place, store: ObjectStore) -> None:
    """What was there is under the second key, whatever becomes of the first."""
    store.put("log/1", b"evidence")
    assert store.blocked_by("log/1") is None
    assert store.blocked_by("log/2") is None
    assert list(store.no_objects("log")) == list(store.no_objects("none")) == []
    assert list(store.sweep("log")) == list(store.sweep("none")) == []
    store.set_aside("log/1", "quarantine/log/1.a")
    store.put("log/1", b"mended")
    assert (store.get("quarantine/log/1.a"), store.get("log/1")) == (b"evidence", b"mended")
    other = place.open()
    assert keys(other, "quarantine/") == ["quarantine/log/1.a"]
    other.close()
    with pytest.raises(ObjectMissing):
        store.set_aside("log/2", "quarantine/log/2.a")


def test_object_store_gives_what_it_keeps_of_an_objects_past(store: ObjectStore) -> None:
    """The oldest first, what is too long left out; nothing where nothing is kept."""
    for body in (b"first", b"x" * 100, b"third"):
        store.put("x", body)
    if not store.capabilities.versions:
        assert list(store.versions("x")) == []
        return
    assert list(store.versions("x")) == [b"first", b"x" * 100, b"third"]
    assert list(store.versions("x", length_max=99)) == [b"first", b"third"]
    assert list(store.versions("y")) == []


def test_object_store_put_replaces(store: ObjectStore) -> None:
    """A put without a condition replaces, and may be repeated."""
    store.put("x", b"first")
    store.put("x", b"the second")
    store.put("x", b"the second")
    assert store.get("x") == b"the second"
    assert keys(store) == ["x"]


def test_object_store_is_seen_by_another(place: Place, store: ObjectStore) -> None:
    """What one store puts, another over the same place finds."""
    store.put("a/b", BYTES)
    other = place.open()
    assert other.get("a/b") == BYTES
    assert keys(other) == ["a/b"]
    other.close()


def test_object_store_says_what_is_missing(store: ObjectStore) -> None:
    """Reading an object that is not there is an error of its own, with the key; asking for it is none."""
    store.put("there/object", b"x")
    for key in ("missing", "there/missing", "not/there/object"):
        with pytest.raises(ObjectMissing) as caught:
            store.get(key)
        assert caught.value.context["key"] == key
        with pytest.raises(ObjectMissing):
            store.get_range(key, 0, 1)
        with pytest.raises(ObjectMissing):
            store.get_range(key, 0, 0)
        with pytest.raises(ObjectMissing):
            store.get_range(key, -1, 1)
        assert store.head(key) is None
        assert store.local_path(key) is None


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, 1),
        (0, 100),
        (7, 93),
        (99, 1),
        (50, 10),
        (-1, 1),
        (-24, 24),
        (-24, 10),
        (-100, 100),
        (0, 0),
        (100, 0),
        (50, 0),
    ],
)
def test_object_store_reads_a_range(store: ObjectStore, offset: int, length: int) -> None:
    """A range is exactly what was asked for; a negative offset counts from the end."""
    body = BYTES[:100]
    store.put("x", body)
    start = offset if offset >= 0 else len(body) + offset
    assert store.get_range("x", offset, length) == body[start : start + length]


def test_object_store_is_read_by_work(store: ObjectStore) -> None:
    """What the work raises is raised, and it can read as ever."""
    store.put("x", BYTES)
    room = bytearray(8)

    def work() -> None:
        store.read_into("x", 3, memoryview(room))
        store.get_range("x", len(BYTES), 1)

    with pytest.raises(Truncated):
        store.while_reading(work)
    assert room == BYTES[3:11]


@pytest.mark.parametrize(("offset", "length"), [(0, 101), (99, 2), (100, 1), (5000, 10), (-101, 101), (-101, 1)])
def test_object_store_says_when_a_range_is_not_all_there(store: ObjectStore, offset: int, length: int) -> None:
    """A range that goes beyond the object is an error, never a short answer."""
    store.put("x", BYTES[:100])
    with pytest.raises(Truncated) as caught:
        store.get_range("x", offset, length)
    assert caught.value.context.get("size", 100) == 100


# Conditional creation


def test_object_store_creates_only_what_is_absent(store: ObjectStore) -> None:
    """With `if_absent` an object of other bytes is not replaced."""
    store.put("log/0000000000000001", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("log/0000000000000001", b"other", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("log/0000000000000001", b"first and more", if_absent=True)
    with pytest.raises(AlreadyExists):
        store.put("log/0000000000000001", b"", if_absent=True)
    assert store.get("log/0000000000000001") == b"first"
    assert keys(store) == ["log/0000000000000001"]


def test_object_store_takes_its_own_bytes_for_a_lost_acknowledgement(place: Place, store: ObjectStore) -> None:
    """Repeating a conditional put with the same bytes succeeds, also from another process."""
    store.put("x", [BYTES, b"tail"], if_absent=True)
    store.put("x", BYTES + b"tail", sha256=digest(BYTES + b"tail"), if_absent=True)
    other = place.open()
    other.put("x", [BYTES[:10], BYTES[10:] + b"tail"], if_absent=True)
    other.close()
    assert store.get("x") == BYTES + b"tail"


def test_object_store_lets_one_of_many_creators_win(place: Place) -> None:
    """Of concurrent conditional puts of one key exactly one succeeds, and its bytes are there."""
    stores = [place.open() for _ in range(6)]
    for number in range(3):
        key = f"log/{number:016}"
        start = threading.Barrier(len(stores))

        def create(index: int, key: str = key, start: threading.Barrier = start) -> bool:
            start.wait()
            try:
                stores[index].put(key, f"writer {index}".encode() * 50, if_absent=True)
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(len(stores)) as pool:
            won = list(pool.map(create, range(len(stores))))
        assert won.count(True) == 1
        assert stores[0].get(key) == f"writer {won.index(True)}".encode() * 50
    for store in stores:
        store.close()


def test_object_store_shows_whole_objects_only(place: Place) -> None:
    """Readers that run beside writers of one key see one of the written bodies, whole."""
    bodies = [bytes([number]) * (200_000 + number) for number in range(4)]
    writer, reader = place.open(), place.open()
    writer.put("x", bodies[0])
    is_over = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not is_over.is_set():
            seen.add(reader.get("x"))

    with ThreadPoolExecutor(3) as pool:
        reading = pool.submit(read)
        for _ in pool.map(lambda number: writer.put("x", bodies[number % 4]), range(24)):
            pass
        is_over.set()
        reading.result()
    assert seen
    assert seen <= set(bodies)
    writer.close()
    reader.close()


# Digests


def test_object_store_refuses_bytes_of_another_digest(place: Place, store: ObjectStore) -> None:
    """A store that checks digests stores nothing when they differ; one that does not says so in the suite."""
    if place.checks_digests:
        with pytest.raises(ChecksumMismatch):
            store.put("x", BYTES, sha256=digest(b"other"))
        assert store.head("x") is None
        assert keys(store) == []
    else:
        store.put("x", BYTES, sha256=digest(b"other"))
        assert store.get("x") == BYTES


# Listing


LISTED = ["config", "index/aa", "index/ab", "keys/0a", "log/1", "packs/aa/1", "packs/aa/2", "packs/ab/0", "packs0/x"]


@pytest.mark.parametrize(
    ("prefix", "after", "expected"),
    [
        ("", "", LISTED),
        ("packs/", "", LISTED[5:8]),
        ("packs", "", LISTED[5:]),
        ("packs/a", "", LISTED[5:8]),
        ("packs/aa/", "packs/aa/1", LISTED[6:7]),
        ("packs/", "packs/aa/2", LISTED[7:8]),
        ("packs/", "packs/aa/0", LISTED[5:8]),
        ("packs/", "packs/ab/0", []),
        ("packs/", "packs/ab0", []),
        ("packs/", "index/zz", LISTED[5:8]),
        ("packs/", "zzz", []),
        ("", "index/ab", LISTED[3:]),
        ("i", "index/aa", LISTED[2:3]),
        ("log/1", "", ["log/1"]),
        ("nothing", "", []),
        ("nothing/at/all/", "", []),
        ("config/", "", []),
    ],
)
def test_object_store_lists_a_prefix_in_order(place: Place, prefix: str, after: str, expected: list[str]) -> None:
    """A listing has the objects of the prefix, beginning after a key, sorted, each with its size."""
    store = place.open()
    for number, key in enumerate(reversed(LISTED)):
        store.put(key, b"x" * number)
    found = list(store.list(prefix, after=after))
    assert [info.key for info in found] == expected
    assert [info.size for info in found] == [len(LISTED) - 1 - LISTED.index(key) for key in expected]
    store.close()


def test_object_store_lists_nothing_when_nothing_was_put(store: ObjectStore) -> None:
    """An empty place is listed as empty."""
    assert keys(store) == []
    assert keys(store, "packs/") == []


def test_object_store_lists_more_than_a_page(store: ObjectStore) -> None:
    """A listing goes on beyond what a server hands out at a time, and so does one that begins in its middle."""
    expected = [f"packs/{number:02x}/{number:04}" for number in range(1003)]
    expected.sort()
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda key: store.put(key, b"1"), expected):
            pass
    assert keys(store, "packs/") == expected
    assert keys(store, "", after=expected[700]) == expected[701:]
    assert all(one < other for one, other in pairwise(expected))


# Deleting


def test_object_store_deletes(store: ObjectStore) -> None:
    """A deleted object is gone from everything; deleting what is not there is no error."""
    store.put("a/x", b"first")
    store.put("a/x", b"second")
    store.put("a/y", b"stays")
    store.delete("a/x")
    store.delete("a/x")
    store.delete("never/was")
    assert store.head("a/x") is None
    with pytest.raises(ObjectMissing):
        store.get("a/x")
    assert keys(store) == ["a/y"]
    store.put("a/x", b"again", if_absent=True)
    assert store.get("a/x") == b"again"


# Durability


def test_object_store_syncs_what_was_put_without_durability(place: Place, store: ObjectStore) -> None:
    """After `sync` all is there that was put without being durable; a second one has nothing to do."""
    for number in range(5):
        store.put(f"packs/{number:02}/x", b"%d" % number, durable=False)
    store.put("log/1", b"entry", if_absent=True, durable=False)
    store.sync()
    store.sync()
    other = place.open()
    assert [other.get(f"packs/{number:02}/x") for number in range(5)] == [b"%d" % number for number in range(5)]
    assert other.get("log/1") == b"entry"
    other.close()


def test_object_store_settles_objects_whoever_put_them(place: Place, store: ObjectStore) -> None:
    """What another writer put without durability can be made durable by whoever relies on it, there or not."""
    store.put("packs/aa/1", b"x", durable=False)
    other = place.open()
    other.settle(["packs/aa/1", "packs/bb/absent"])
    assert other.get("packs/aa/1") == b"x"
    other.close()


def test_object_store_takes_many_puts_at_once(store: ObjectStore) -> None:
    """Puts from many threads, into old and new folders, are all there afterwards."""
    with ThreadPoolExecutor(12) as pool:
        for _ in pool.map(lambda n: store.put(f"p/{n % 7}/{n}", b"%d" % n, durable=n % 3 > 0), range(120)):
            pass
    store.sync()
    assert sorted(int(store.get(key)) for key in keys(store)) == list(range(120))


def test_object_store_may_be_closed_twice(place: Place) -> None:
    """Closing again is no error, whether the store was used or not."""
    store = place.open()
    store.put("x", b"x")
    store.close()
    store.close()
    place.open().close()


# Locks


def test_object_store_keeps_a_locked_object(store: ObjectStore) -> None:
    """A locked object is not deleted; where there are no locks the lock date has no effect."""
    until = store.now() + timedelta(seconds=1200)
    store.put("locked", b"body", lock_until=until)
    if not store.capabilities.locks:
        store.extend_lock("locked", until)
        store.delete("locked")
        assert store.head("locked") is None
        return
    with pytest.raises(Locked) as caught:
        store.delete("locked")
    assert caught.value.context["key"] == "locked"
    assert store.get("locked") == b"body"
    found = store.head("locked")
    assert found is not None
    assert found.lock_until is not None
    assert timedelta(0) <= found.lock_until - until < timedelta(seconds=1)


def test_object_store_keeps_what_is_under_legal_hold(store: ObjectStore) -> None:
    """It has no end, and is taken away again; where there are no locks nothing is told of it."""
    store.put("held", b"body")
    if not store.capabilities.locks:
        store.set_legal_hold("held", True)
        assert store.legal_hold("held") is None
        store.delete("held")
        return
    assert store.legal_hold("held") is store.legal_hold("missing") is False
    store.set_legal_hold("held", True, sha256=digest(b"body"))
    store.set_legal_hold("held", True)
    assert store.legal_hold("held") is True
    with pytest.raises(Locked) as caught:
        store.delete("held")
    assert "release" in caught.value.hint
    store.set_legal_hold("held", False)
    assert store.legal_hold("held") is False
    store.delete("held")
    assert store.head("held") is None
    with pytest.raises(ObjectMissing):
        store.set_legal_hold("held", True)


def test_object_store_extends_a_lock_and_never_shortens_it(store: ObjectStore) -> None:
    """A lock date moves forward only; an object without a lock gets one."""
    if not store.capabilities.locks:
        store.extend_lock("whatever", store.now() + timedelta(days=1))
        return
    start = store.now().replace(microsecond=0)
    store.put("plain", b"body")
    store.put("locked", b"body", lock_until=start + timedelta(seconds=600))

    def lock_of(key: str) -> datetime | None:
        found = store.head(key)
        assert found is not None
        return found.lock_until

    for key in ("plain", "locked"):
        store.extend_lock(key, start + timedelta(seconds=900))
        store.extend_lock(key, start + timedelta(seconds=900))
        assert lock_of(key) == start + timedelta(seconds=900)
        store.extend_lock(key, start + timedelta(seconds=700))
        assert lock_of(key) == start + timedelta(seconds=900)
        with pytest.raises(Locked):
            store.delete(key)
    with pytest.raises(ObjectMissing):
        store.extend_lock("missing", start + timedelta(seconds=900))


def test_object_store_locks_what_a_lost_acknowledgement_left(store: ObjectStore) -> None:
    """A conditional put that finds its own bytes sees to it that they are locked for long enough."""
    if not store.capabilities.locks:
        return
    start = store.now().replace(microsecond=0)
    store.put("x", b"body", if_absent=True, lock_until=start + timedelta(seconds=300))
    store.put("x", b"body", if_absent=True, lock_until=start + timedelta(seconds=900))
    found = store.head("x")
    assert found is not None
    assert found.lock_until == start + timedelta(seconds=900)


async def test_object_store_deletes_when_the_lock_has_run_out(store: ObjectStore) -> None:
    """After its lock date an object can be deleted."""
    store.put("x", b"body", lock_until=store.now() + timedelta(seconds=2))

    def is_deleted() -> bool:
        store.delete("x")
        return True

    await eventually(is_deleted)
    assert store.head("x") is None


def test_object_store_keeps_what_is_locked_when_it_is_put_again(store: ObjectStore) -> None:
    """A locked object is not replaced, or its version stays beneath the new one."""
    if not store.capabilities.locks:
        return
    store.put("x", b"original", lock_until=store.now() + timedelta(seconds=1200))
    if store.capabilities.versions:
        store.put("x", b"ransom")
        originals = store.originals()
        assert originals is not None
        assert originals.get("x") == b"original"
        with pytest.raises(Locked):
            store.delete("x")
        assert originals.get("x") == b"original"
    else:
        with pytest.raises(Locked):
            store.put("x", b"ransom")
        assert store.get("x") == b"original"


# The rest


def test_object_store_tells_the_time(store: ObjectStore) -> None:
    """The store's clock is aware, and near this machine's where both are kept right."""
    here = datetime.fromtimestamp(SYSTEM_CLOCK.now_ns() / 1e9, UTC)
    assert abs(store.now() - here) < timedelta(minutes=2)


def test_object_store_gives_a_path_where_it_has_one(store: ObjectStore) -> None:
    """`local_path` is the object's own file, or nothing."""
    store.put("packs/aa/x", BYTES)
    path = store.local_path("packs/aa/x")
    assert (path is not None) == store.capabilities.local
    if path is not None:
        assert Path(path).read_bytes() == BYTES


MALFORMED = [
    "", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", "a/.", "./a", "a//b", "a/", ".hidden", "a/.tmp-1",
    "a\\b", "a b", "a\0b", "ä", "a\n", "x" * 513, "y" * 201, "a?b", "a%2e", "-a",
]  # fmt: skip


@pytest.mark.parametrize("key", MALFORMED, ids=range(len(MALFORMED)))
def test_object_store_refuses_a_malformed_key(store: ObjectStore, key: str) -> None:
    """A key that could leave the tier, or that not every store keeps, is refused by every method."""
    calls: list[Callable[[], object]] = [
        lambda: store.put(key, b"x"),
        lambda: store.get(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.head(key),
        lambda: store.settle([key]),
        lambda: store.delete(key),
        lambda: store.extend_lock(key, store.now()),
        lambda: store.local_path(key),
    ]
    for call in calls:
        with pytest.raises(InvalidKey):
            call()
    if key and not key.endswith("a/"):
        with pytest.raises(InvalidKey):
            list(store.list(key))
