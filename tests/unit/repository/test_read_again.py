"""Verdicts that compare what was read at different moments: it is read again before one is pronounced."""

import threading
from collections.abc import Callable, Iterator

from repository.backup.backup import BackupOptions, backup
from repository.backup.fanout import Delivery
from repository.index.pack_catalog import PACK_PREFIX
from repository.opened.open_tier import TierState
from repository.opened.opening import probe
from repository.opened.repository import Repository
from repository.stored.config import CONFIG_KEY
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
