"""The look that a backup takes at its own work."""

import hashlib

import pytest

from repository.errors import Damaged, NotInIndex, ObjectMissing, SnapshotNotFound
from repository.format import pack_object_key
from repository.stored.snapshot import Snapshot
from repository.tiers.port import OBJECT_LENGTH_MAX
from repository.upkeep.verify import verify_snapshot
from tests.support.repositories import Scene, photos


def _taken(scene: Scene, count: int = 3, **options: object) -> Snapshot:
    snapshot = scene.backup(photos(count), "1", **options)  # type: ignore[arg-type]
    assert snapshot is not None
    return snapshot


def test_whole_snapshot_is_verified_on_its_tier() -> None:
    """Everything is counted, and at least one pack is read whole."""
    scene = Scene(("a", "b"))
    snapshot = _taken(scene)
    for name in ("a", "b"):
        verified = verify_snapshot(scene.repository, scene.tier(name), snapshot, percent=0)
        assert (verified.chunks, verified.packs, verified.packs_read) == (6, 2, 1)
        assert verified.bytes_read > 0
        assert verify_snapshot(scene.repository, scene.tier(name), snapshot, percent=100).packs_read == 2


def test_tier_without_the_snapshot_is_told() -> None:
    """A tier that was left behind does not pass."""
    scene = Scene(("a", "b"))
    snapshot = _taken(scene, only=["a"])
    with pytest.raises(SnapshotNotFound):
        verify_snapshot(scene.repository, scene.tier("b"), snapshot)


@pytest.mark.parametrize("fault", ["flipped", "missing"])
def test_damaged_pack_is_found_when_all_are_read(fault: str) -> None:
    """A pack whose bytes are wrong or gone fails the tier that holds it, and only that."""
    scene = Scene(("a", "b"))
    snapshot = _taken(scene)
    chunk = scene.repository.keys.active().chunk_id(photos(1)[b"IMG_0000.JPG"])
    location = scene.tier("a").index.lookup(chunk)
    assert location is not None
    key = pack_object_key(location.pack_id)
    body = bytearray(scene.store("a").get(key))
    body[len(body) // 2] ^= 4
    if fault == "flipped":
        scene.store("a").put(key, bytes(body))
    else:
        scene.store("a").delete(key)
    with pytest.raises((Damaged, ObjectMissing)):
        verify_snapshot(scene.repository, scene.tier("a"), snapshot, percent=100)
    verify_snapshot(scene.repository, scene.tier("b"), snapshot, percent=100)


def test_damaged_tree_is_found_always() -> None:
    """All of the tree is read, however small the sample."""
    scene = Scene()
    snapshot = _taken(scene)
    location = scene.tier("a").index.lookup(bytes.fromhex(snapshot.manifest.root[0]))
    assert location is not None
    key = pack_object_key(location.pack_id)
    body = bytearray(scene.store("a").get(key))
    body[150] ^= 4
    scene.store("a").put(key, bytes(body))
    with pytest.raises(Damaged):
        verify_snapshot(scene.repository, scene.tier("a"), snapshot, percent=0)


def test_index_that_lacks_a_chunk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk for which the tier's own index has no place cannot be restored from there alone."""
    scene = Scene()
    snapshot = _taken(scene)
    lost = scene.repository.keys.active().chunk_id(photos(1)[b"IMG_0000.JPG"])
    tier = scene.tier("a")
    lookup = tier.index.lookup_any
    monkeypatch.setattr(tier.index, "lookup_any", lambda chunk_id: None if chunk_id == lost else lookup(chunk_id))
    with pytest.raises(NotInIndex):
        verify_snapshot(scene.repository, tier, snapshot)


def test_sample_is_another_each_time() -> None:
    """Over many runs every pack has its turn."""
    scene = Scene()
    for number in range(6):
        snapshot = scene.backup({b"%d" % n: hashlib.sha256(b"%d" % n).digest() for n in range(number + 1)}, str(number))
    assert snapshot is not None
    read: set[str] = set()
    store = scene.store("a")
    real = store.get

    def get(key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        if key.startswith("packs/"):
            read.add(key)
        return real(key, length_max=length_max)

    store.get = get  # type: ignore[method-assign]
    for _ in range(40):
        verify_snapshot(scene.repository, scene.tier("a"), snapshot, percent=1)
    assert len(read) >= 5
