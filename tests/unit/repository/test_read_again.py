"""Verdicts that compare what was read at different moments: it is read again before one is pronounced."""

import threading
from collections.abc import Callable, Collection, Iterator

import pytest

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.errors import ObjectMissing
from repository.index.pack_catalog import PACK_PREFIX
from repository.index.segments import INDEX_PREFIX, segment_object_key
from repository.keys.key_ring import KEY_PREFIX
from repository.opened.compaction import compact_indexes
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.opening import probe
from repository.opened.present_objects import expect_index, expect_objects, live_segments
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY
from repository.stored.index_segment import Segment
from repository.stored.log_entry import LOG_PREFIX
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, ObjectInfo, ObjectStore
from repository.upkeep.catch_up import catch_up
from tests.support.memory_source import MemoryFolder, MemorySource
from tests.support.misbehaving_stores import WrappedStore
from tests.support.repositories import Scene, SeededRandomness, photos, write_snapshot

WAIT_SECONDS = 30.0


class SlowStore(WrappedStore):
    """A store far away: before it answers its first look at `prefix`, `meanwhile` has happened elsewhere."""

    def __init__(self, inner: ObjectStore, prefix: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(inner)
        self._prefix = prefix
        self._meanwhile: Callable[[], object] | None = meanwhile

    def _first(self, key: str) -> None:
        meanwhile = self._meanwhile
        if meanwhile is not None and key == self._prefix:
            self._meanwhile = None
            meanwhile()

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """List what is there by then."""
        self._first(prefix)
        return super().list(prefix, after=after)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """Read what is there by then."""
        self._first(key)
        return super().get(key, length_max=length_max)


class ReadStore(WrappedStore):
    """A store that says when its log has been read for the first time."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.was_read = threading.Event()

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """List."""
        found = list(super().list(prefix, after=after))
        if prefix == LOG_PREFIX:
            self.was_read.set()
        return iter(found)


def _others_run(scene: Scene, tokens: tuple[str, ...]) -> None:
    """Another process's runs, to the tiers themselves."""
    other = Repository.open(scene.stores, scene.provider, clock=scene.clock, randomness=SeededRandomness(7))
    for number, token in enumerate(tokens):
        write_snapshot(other, other.ready_tiers(), photos(2, seed=20 + number), token, SeededRandomness(8 + number))


def _opened_while_others_run(scene: Scene, tokens: tuple[str, ...] = ("x", "y")) -> Repository:
    """Open with `a` read before other runs are committed to both tiers, and `b`, which is slow, after them."""
    fast = ReadStore(scene.store("a"))

    def meanwhile() -> None:
        assert fast.was_read.wait(WAIT_SECONDS)
        _others_run(scene, tokens)

    slow = SlowStore(scene.store("b"), LOG_PREFIX, meanwhile)
    return scene.reopen(stores=[fast, slow])


def test_tier_is_not_replayed_because_a_slow_one_was_read_later() -> None:
    """The slow tier's entries bear witness to what the fast one got since it was read: nobody rolled it back."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "one")
    repository = _opened_while_others_run(scene)
    assert repository.states() == {"a": "ready", "b": "ready"}
    assert len(repository.tier("a").snapshots()) == 3


def test_tier_is_not_behind_because_it_was_read_before_another() -> None:
    """A run that deduplicates against what another brought meanwhile is committed to both tiers."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "one")
    fast = scene.reopen()
    _others_run(scene, ("x",))
    fast.tier("b").refresh()
    assert fast.session_index().pack_ids() - fast.tier("a").index.pack_ids(), "a was read before the other run"
    # The same photos: all of their chunks are in packs that only the other run brought.
    write_snapshot(fast, fast.ready_tiers(), photos(2, seed=20), "same photos", SeededRandomness(30))
    assert all("same photos" in tier.log.state.by_token for tier in fast.tiers)


def test_run_that_was_committed_meanwhile_is_found_on_every_tier() -> None:
    """A takeover finds what its predecessor committed to a tier after that one was read."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1), "begun", only=["b"])
    successor = scene.reopen()
    other = Repository.open(scene.stores, scene.provider, clock=scene.clock, randomness=SeededRandomness(9))
    catch_up(other, other.tier("a"))
    nothing = MemorySource(MemoryFolder())
    result = backup(successor, nothing, options=BackupOptions(run_token="begun", label="photos"))
    assert result.was_committed_before
    assert {name: each.state for name, each in result.tiers.items()} == dict.fromkeys("ab", Delivery.COMMITTED)


def test_tier_that_is_being_begun_is_not_damaged() -> None:
    """Packs that were seen after an empty log was read came with a log that began in between."""
    scene = Scene(("a",))
    scene.backup(photos(1), "one")
    begun = scene.store("a").contents()
    before = {key: body for key, body in begun.items() if not key.startswith((LOG_PREFIX, PACK_PREFIX, "index/"))}
    growing = MemoryObjectStore("a", objects=before)
    missing = {key: body for key, body in begun.items() if key not in before}

    def begin() -> None:
        for key, body in missing.items():
            growing.put(key, body)

    repository = scene.reopen(stores=[SlowStore(growing, PACK_PREFIX, begin)])
    assert repository.tier("a").state is TierState.READY
    assert len(repository.snapshots()) == 1


def test_config_and_keys_that_come_while_they_are_looked_for_are_found() -> None:
    """Whoever opens while another creates sees an empty tier or a whole one, never damage."""
    scene = Scene(("a",))
    scene.backup(photos(1), "one")
    whole = scene.store("a").contents()
    for moment in ("keys/", CONFIG_KEY, LOG_PREFIX):
        without = {} if moment != CONFIG_KEY else {key: body for key, body in whole.items() if key.startswith("keys/")}
        growing = MemoryObjectStore("a", objects=without)

        def create(growing: MemoryObjectStore = growing) -> None:
            for key, body in whole.items():
                growing.put(key, body)

        found = probe(_AfterLooking(growing, moment, create))
        assert (found.state, bool(found.config), len(found.keys)) == (TierState.READY, True, 1), moment


def _looked_at_meanwhile(scene: Scene, prefix: str, meanwhile: Callable[[], object]) -> OpenTier:
    """The open tier `a`, of which the next listing of `prefix` is on its way while something happens."""
    tier = scene.tier("a")
    tier.store = _AfterLooking(tier.store, prefix, meanwhile)
    return tier


def test_what_other_writers_bring_during_a_listing_is_not_missing() -> None:
    """Of many backups over one open repository one reads back while another commits: neither has lost anything."""
    looks: list[tuple[str, Callable[[OpenTier], object]]] = [
        (INDEX_PREFIX, expect_index),
        (KEY_PREFIX, expect_objects),
        (PACK_PREFIX, OpenTier.gone_packs),
    ]
    for prefix, look in looks:
        scene = Scene(("a",))
        scene.backup(photos(2), "one")
        repository, tier = scene.repository, scene.tier("a")

        def commit(repository: Repository = repository, tier: OpenTier = tier) -> None:
            write_snapshot(repository, [tier], photos(2, seed=20), "two", SeededRandomness(8))
            new_key = f"{KEY_PREFIX}{'ab' * 16}.{'cd' * 16}"
            tier.keys_seen |= {(new_key, "ef" * 32)}

        assert not look(_looked_at_meanwhile(scene, prefix, commit)), prefix
        assert len(tier.snapshots()) == 2


def test_segment_that_others_have_replaced_and_deleted_meanwhile_is_not_missing() -> None:
    """What this process knows of the index may be of yesterday; what the log still names has to be there."""
    scene = Scene(("a",))
    scene.backup(photos(2), "one")
    scene.backup(photos(2, seed=20), "two")
    tier = scene.tier("a")
    stale = {*tier.log.state.segments}
    _compacted_and_swept(scene, stale)
    assert tier.log.state.segments.keys() == stale
    expect_index(tier)
    assert len(tier.named_segments()) == 1
    tier.store.delete(segment_object_key(next(iter(tier.log.state.segments))))
    with pytest.raises(ObjectMissing):
        expect_index(tier)


def test_segment_that_is_not_in_memory_and_was_replaced_meanwhile_is_not_missing() -> None:
    """As before, where the segment is to be read from the store."""
    scene = Scene(("a",))
    scene.backup(photos(2), "one")
    scene.backup(photos(2, seed=20), "two")
    tier = scene.tier("a")
    stale = {*tier.log.state.segments}
    _compacted_and_swept(scene, stale)

    def load(name: str) -> Segment:
        raise ObjectMissing("not there", object_key=segment_object_key(name))

    assert live_segments(tier.log, stale, load) == {}
    with pytest.raises(ObjectMissing):
        live_segments(tier.log, tier.log.state.segments, load)


def _compacted_and_swept(scene: Scene, stale: Collection[str]) -> None:
    other = Repository.open(scene.stores, scene.provider, clock=scene.clock, randomness=SeededRandomness(7))
    assert compact_indexes(other, 0) == 1
    for name in stale:
        scene.store("a").delete(segment_object_key(name))


class _AfterLooking(SlowStore):
    """As `SlowStore`, but that things happen just after its first look at `prefix`."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        found = list(self.inner.list(prefix, after=after))
        self._first(prefix)
        return iter(found)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        try:
            return self.inner.get(key, length_max=length_max)
        finally:
            self._first(key)
