"""Opening over tiers: what is whole is used, what is not is said of each."""

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from repository.errors import (
    Damaged,
    LockNotProven,
    NotARepository,
    NoUsableTier,
    ObjectMissing,
    PackMarked,
    RepositoryError,
    RepositoryExists,
    Retry,
    SnapshotNotFound,
    TierBehind,
    TiersExchanged,
    TierUnreachable,
    UnsupportedFormat,
    WrongKey,
)
from repository.index.segments import open_segment, segment_object_key
from repository.keys.key_ring import DomainKeys
from repository.log.commit_log import Head
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.opened.seen import SeenTier
from repository.stored.chunker import ChunkerParameters
from repository.stored.config import CONFIG_KEY, decode_config, encode_config, is_authentic, make_config, verify_config
from repository.stored.log_entry import IndexChanged, PacksMarked, entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.snapshot import decode_manifest
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, ObjectStore
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.repair import repair
from tests.support.repositories import BrokenStore, Scene, SeededRandomness, key_file, photos, read_back

KEYS = DomainKeys(b"R" * 16, "default", 1, b"m" * 32, b"M" * 32)


def _flip(store: MemoryObjectStore, key: str, place: int = -1) -> None:
    changed = bytearray(store.get(key))
    changed[place] ^= 1
    store.put(key, bytes(changed))


def _keys_below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def _dead(store: MemoryObjectStore) -> BrokenStore:
    broken = BrokenStore(store)
    error = TierUnreachable("no answer", tier=store.name)
    broken.failures = dict.fromkeys(("get", "get_range", "head", "put", "list", "delete", "sync"), error)
    return broken


# Config


def test_config_round_trips_and_follows_from_the_key() -> None:
    """The same key and chunk lengths always give the same bytes, so a lost config can be made again."""
    config = make_config(KEYS, ChunkerParameters())
    encoded = encode_config(config, KEYS)
    read = decode_config(encoded)
    verify_config(read, KEYS)
    assert read.config == config
    assert read.config.chunker == ChunkerParameters()
    assert encode_config(make_config(KEYS, read.config.chunker), KEYS) == encoded


def test_every_flipped_byte_of_the_config_is_noticed() -> None:
    """The MAC covers all fields, and the layout has no slack."""
    encoded = encode_config(make_config(KEYS, ChunkerParameters()), KEYS)
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 4
        with pytest.raises((Damaged, UnsupportedFormat)):
            verify_config(decode_config(bytes(changed)), KEYS)


def test_only_the_keys_holder_makes_an_authentic_config() -> None:
    """Of whatever format; garbage is nobody's."""
    encoded = encode_config(make_config(KEYS, ChunkerParameters()), KEYS)
    assert is_authentic(encoded, KEYS)
    assert not is_authentic(encoded, DomainKeys(b"R" * 16, "default", 1, b"n" * 32, b"N" * 32))
    assert not is_authentic(encoded[:-2], KEYS)
    assert not is_authentic(b'{"config":{},"mac":""}', KEYS)


def test_config_is_damaged_when_authentic_and_impossible() -> None:
    """Limits are checked even on what the key's holder wrote."""
    config = msgspec.structs.replace(make_config(KEYS, ChunkerParameters()), chunk_length_min=1)
    with pytest.raises(Damaged, match="impossible"):
        verify_config(decode_config(encode_config(config, KEYS)), KEYS)
    short = msgspec.structs.replace(make_config(KEYS, ChunkerParameters()), root_key_id="00")
    with pytest.raises(Damaged, match="wrong length"):
        decode_config(encode_config(short, KEYS))
    later = msgspec.structs.replace(make_config(KEYS, ChunkerParameters()), format=2)
    with pytest.raises(UnsupportedFormat):
        decode_config(encode_config(later, KEYS))


def test_manifest_of_a_later_format_or_of_garbage_is_refused() -> None:
    """A snapshot that cannot be understood is not guessed at."""
    with pytest.raises(Damaged):
        decode_manifest(b"{}")
    scene = Scene()
    snapshot = scene.backup(photos(1), "run")
    assert snapshot is not None
    with pytest.raises(UnsupportedFormat):
        decode_manifest(msgspec.structs.replace(snapshot.manifest, format=2).encode())


# Creating


def test_init_makes_the_same_config_and_keys_on_every_tier() -> None:
    """Each tier is a complete repository from the start."""
    scene = Scene(("a", "b", "c"))
    contents = [scene.store(name).contents() for name in "abc"]
    for content in contents:
        assert [key.partition("/")[0] for key in sorted(content)] == ["config", "keys", "log", "log"]
        assert content[CONFIG_KEY] == contents[0][CONFIG_KEY]
    assert scene.repository.states() == {"a": "ready", "b": "ready", "c": "ready"}
    tier_ids = {tier.log.state.tier_id for tier in scene.repository.tiers}
    assert len(tier_ids) == 3


def test_init_refuses_a_tier_that_is_not_empty() -> None:
    """A repository is never created over another one, whatever state that is in."""
    scene = Scene(("a",))
    with pytest.raises(RepositoryExists):
        Repository.init([MemoryObjectStore("new"), scene.store("a")], key_file(1))
    scene.store("a").delete(CONFIG_KEY)
    with pytest.raises(RepositoryExists):
        Repository.init([scene.store("a")], key_file(1))


def test_init_raises_when_a_tier_does_not_answer() -> None:
    """A tier that is down when the repository is made is added later; init says so."""
    with pytest.raises(TierUnreachable):
        Repository.init([_dead(MemoryObjectStore("a"))], key_file())  # type: ignore[list-item]


def test_init_that_was_interrupted_can_be_repeated() -> None:
    """Keys alone, left by a crash, are in nobody's way; a tier with config is opened or added."""
    store = MemoryObjectStore("a")

    class DiesAtConfig(BrokenStore):
        def put(self, key: str, body: bytes, **options: object) -> None:
            if key == CONFIG_KEY:
                raise TierUnreachable("died")
            store.put(key, body, **options)  # type: ignore[arg-type]

    with pytest.raises(TierUnreachable):
        Repository.init([DiesAtConfig(store)], key_file(), randomness=SeededRandomness(5))  # type: ignore[list-item]
    assert _keys_below(store, "keys/")
    with pytest.raises(NotARepository):
        Repository.open([store], key_file())
    scene = Scene(stores=[store], seed=0)
    assert scene.reopen().states() == {"a": "ready"}
    assert scene.repository.keys.damaged == []


def test_init_between_config_and_log_is_finished_by_the_first_writer() -> None:
    """A tier with config and keys and nothing else is ready, and its log begins with the first entry."""
    scene = Scene()
    for key in _keys_below(scene.store("a"), "log/"):
        scene.store("a").delete(key)
    assert scene.reopen().states() == {"a": "ready"}
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    assert list(scene.reopen().tiers[0].snapshots()) == [snapshot.id]


def test_two_inits_of_one_place_make_one_repository() -> None:
    """The config is created conditionally: the second creator is told."""
    store = MemoryObjectStore("a")

    class Overtaken(BrokenStore):
        def put(self, key: str, body: bytes, **options: object) -> None:
            if key == CONFIG_KEY and CONFIG_KEY not in store.contents():
                Scene(stores=[store], seed=3)
            store.put(key, body, **options)  # type: ignore[arg-type]

    with pytest.raises(RepositoryExists):
        Repository.init([Overtaken(store)], key_file())  # type: ignore[list-item]


# Opening


def test_open_reads_what_was_committed() -> None:
    """Another process sees the snapshots and restores them from each tier alone."""
    scene = Scene(("a", "b"))
    files = photos(5)
    snapshot = scene.backup(files, "run")
    assert snapshot is not None
    for name in ("a", "b"):
        repository = scene.reopen(stores=[scene.store(name)])
        assert [each.id for each in repository.snapshots()] == [snapshot.id]
        assert read_back(repository, snapshot, repository.tier(name)) == files
    with scene.reopen() as both:
        assert [tier.name for tier in both.tiers_with(snapshot)] == ["a", "b"]


def test_dead_tier_does_not_stop_the_others() -> None:
    """It is listed with its error; the rest opens, reads and writes."""
    scene = Scene(("a", "b"))
    repository = scene.reopen(stores=[_dead(scene.store("a")), scene.store("b")])  # type: ignore[list-item]
    assert repository.states() == {"a": "unreachable: no answer (tier a)", "b": "ready"}
    assert [tier.name for tier in repository.ready_tiers()] == ["b"]
    assert scene.backup(photos(1), "run") is not None


def test_tier_that_dies_while_it_is_looked_at_is_unreachable() -> None:
    """No config, and then no answer: that is not an empty tier."""

    class DiesAfterConfig(BrokenStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            self.failures["list"] = TierUnreachable("gone")
            return self._inner.get(key, length_max=length_max)

    scene = Scene(("a",))
    store = DiesAfterConfig(MemoryObjectStore("b"))
    repository = scene.reopen(stores=[scene.store("a"), store])  # type: ignore[list-item]
    assert repository.tier("b").state is TierState.UNREACHABLE
    error = RepositoryError("x", hint="do this", retry=Retry.LATER)
    assert (error.hint, error.retry) == ("do this", "later")


def test_tier_that_dies_while_its_log_is_read_is_unreachable() -> None:
    """Death in the middle of opening is death."""
    scene = Scene(("a", "b"))

    class DiesAtLog(BrokenStore):
        def list(self, prefix: str, **options: object) -> object:
            if prefix == "log/":
                raise TierUnreachable("gone")
            return self._inner.list(prefix, **options)  # type: ignore[arg-type]

    repository = scene.reopen(stores=[DiesAtLog(scene.store("a")), scene.store("b")])  # type: ignore[list-item]
    assert repository.tier("a").state is TierState.UNREACHABLE
    with pytest.raises(NoUsableTier, match="no tier can be read"):
        scene.reopen(stores=[DiesAtLog(scene.store("a"))])  # type: ignore[list-item]


def test_open_says_why_nothing_opens() -> None:
    """Empty, unreachable, wrong key and damage are different errors with different advice."""
    scene = Scene(("a",))
    with pytest.raises(NotARepository):
        Repository.open([MemoryObjectStore("empty")], key_file())
    with pytest.raises(NoUsableTier) as caught:
        Repository.open([_dead(scene.store("a")), MemoryObjectStore("e")], key_file())  # type: ignore[list-item]
    assert "unreachable" in str(caught.value.context["tiers"])
    with pytest.raises(WrongKey):
        Repository.open([scene.store("a")], key_file(1))
    (key,) = _keys_below(scene.store("a"), "keys/")
    scene.store("a").put(key, b"junk")
    with pytest.raises(Damaged):
        Repository.open([scene.store("a")], key_file())


def test_lost_config_is_made_again_and_proven_by_the_log() -> None:
    """With the key objects and the log's first entry the only tier still opens, as damaged."""
    for place in (None, 11, 40, 90, 250):  # gone; or flipped in its format, ids, public key, chunk lengths
        scene = Scene()
        snapshot = scene.backup(photos(2), "run")
        if place is None:
            scene.store("a").delete(CONFIG_KEY)
        else:
            _flip(scene.store("a"), CONFIG_KEY, place)
        repository = scene.reopen()
        assert repository.tier("a").state is TierState.DAMAGED
        assert snapshot is not None
        assert read_back(repository, snapshot, repository.tier("a")) == photos(2)


def test_config_that_nothing_proves_is_not_made_up() -> None:
    """Without its first log entry a tier with unusual chunk lengths, or with none, is not opened."""
    scene = Scene()
    scene.backup(photos(2), "run")
    scene.store("a").delete(CONFIG_KEY)
    first = scene.store("a").get(entry_object_key(1))
    scene.store("a").put(entry_object_key(1), first[:40] + bytes(32) + first[72:])
    with pytest.raises(ObjectMissing):
        scene.reopen()
    scene.store("a").delete(entry_object_key(1))
    with pytest.raises(ObjectMissing):
        scene.reopen()


def test_format_digit_of_a_config_is_believed_when_authentic_alone() -> None:
    """A flipped digit is damage; only a signed one is a later version."""
    scene = Scene(("a", "b"))
    body = scene.store("a").get(CONFIG_KEY)
    scene.store("a").put(CONFIG_KEY, body.replace(b'"format":1', b'"format":3'))
    assert scene.reopen().tier("a").state is TierState.DAMAGED


def test_damaged_config_of_one_tier_is_replaced_by_the_others() -> None:
    """The tier is damaged, and what it holds can still be read with the other's config."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(3), "run")
    assert snapshot is not None
    for damage in (lambda: _flip(scene.store("a"), CONFIG_KEY, 30), lambda: scene.store("a").delete(CONFIG_KEY)):
        damage()
        repository = scene.reopen()
        assert repository.tier("a").state is TierState.DAMAGED
        assert read_back(repository, snapshot, repository.tier("a")) == photos(3)
        assert [tier.name for tier in repository.readable_tiers()] == ["b", "a"]


def test_config_of_an_older_agreement_is_damage() -> None:
    """Two authentic configs that differ cannot both be right: the first tier's counts."""
    scene = Scene(("a", "b"))
    root = scene.repository.keys.root
    other = encode_config(make_config(root, ChunkerParameters(minimum=64 << 10)), root)
    scene.store("b").put(CONFIG_KEY, other)
    assert scene.reopen().tier("b").state is TierState.DAMAGED


def test_flipped_repository_id_in_a_key_object_still_opens() -> None:
    """The id that is bound is the config's; the field is only a label, and the check names it."""
    scene = Scene(("a", "b"))
    (key,) = _keys_below(scene.store("a"), "keys/")
    body = scene.store("a").get(key)
    changed = msgspec.json.decode(body) | {"repository_id": "00" * 16}
    scene.store("a").put(key, msgspec.json.encode(changed))
    assert scene.reopen(stores=[scene.store("a")]).states() == {"a": "ready"}


def test_key_objects_of_a_later_format_alone_are_told_as_such() -> None:
    """They are no damage."""
    scene = Scene()
    (key,) = _keys_below(scene.store("a"), "keys/")
    body = scene.store("a").get(key)
    scene.store("a").put(key, body.replace(b'"format":1', b'"format":2'))
    with pytest.raises(UnsupportedFormat):
        scene.reopen()


def test_key_object_of_one_tier_opens_the_other() -> None:
    """A tier whose key object is lost or broken is opened with another tier's."""
    scene = Scene(("a", "b"))
    (key,) = _keys_below(scene.store("a"), "keys/")
    scene.store("a").put(key, b"junk")
    assert scene.reopen().states() == {"a": "ready", "b": "ready"}
    assert scene.repository.keys.damaged == [key]
    with pytest.raises(Damaged):
        scene.reopen(stores=[scene.store("a")])

    class KeyVanishes(BrokenStore):
        def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
            if key.startswith("keys/"):
                raise ObjectMissing("gone")
            return self._inner.get(key, length_max=length_max)

    assert scene.reopen(stores=[KeyVanishes(scene.store("a")), scene.store("b")])  # type: ignore[list-item]


def test_another_repository_among_the_tiers_is_foreign() -> None:
    """The first repository that the key opens is it; the other is left alone."""
    mine, other = Scene(("a",)), Scene(("b",), seed=1)
    repository = mine.reopen(stores=[other.store("b"), mine.store("a")])
    assert repository.tier("b").state is TierState.FOREIGN
    assert repository.tier("a").is_ready
    assert not repository.tier("b").is_readable


def test_later_version_is_told_as_such() -> None:
    """A config, or a log, of a later format is not damage."""
    scene = Scene(("a", "b"))
    root = scene.repository.keys.root
    later = msgspec.structs.replace(scene.repository.config, format=2)
    scene.store("a").put(CONFIG_KEY, encode_config(later, root))
    assert scene.reopen().tier("a").state is TierState.UNSUPPORTED
    with pytest.raises(UnsupportedFormat):
        scene.reopen(stores=[scene.store("a")])
    scene.store("a").put(CONFIG_KEY, encode_config(scene.repository.config, root))

    class Prune(msgspec.Struct, tag="prune", tag_field="kind"):
        """A kind of entry that this version does not know."""

        time_ns: int

    scene.tier("b").log.append(lambda _: Prune(1))  # type: ignore[arg-type, return-value]
    assert scene.reopen().tier("b").state is TierState.UNSUPPORTED


def test_damaged_log_or_segment_makes_the_tier_damaged() -> None:
    """Both are still read as far as they go."""
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "run")
    (segment,) = _keys_below(scene.store("a"), "index/")
    _flip(scene.store("a"), segment)
    _flip(scene.store("b"), entry_object_key(2))
    assert scene.reopen(stores=[scene.store("b")]).tier("b").state is TierState.DAMAGED
    repository = scene.reopen(stores=[scene.store("a")])
    assert repository.tier("a").state is TierState.DAMAGED
    assert list(repository.tier("a").damaged_segments) == [segment.removeprefix("index/")]
    with pytest.raises(NoUsableTier, match="no tier is ready"):
        repository.session_index()


def test_packs_without_a_log_are_damage() -> None:
    """Whoever deletes the log does not turn a full tier into a fresh one."""
    scene = Scene()
    scene.backup(photos(1), "run")
    for key in _keys_below(scene.store("a"), "log/"):
        scene.store("a").delete(key)
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    assert "no log" in str(repository.tier("a").error)


def test_segment_is_proven_by_its_name() -> None:
    """A segment swapped for another one is noticed, though both are authentic."""
    scene = Scene()
    scene.backup(photos(2), "one")
    scene.backup(photos(2, seed=1), "two")
    first, second = _keys_below(scene.store("a"), "index/")
    body = scene.store("a").get(first)
    with pytest.raises(Damaged, match="its name"):
        open_segment(second.removeprefix("index/"), body, scene.repository.keys)


# Replays


def test_rolled_back_tier_shows_against_another_tier() -> None:
    """A tier restored to an older state is named, read with care, and not written."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "one")
    old = scene.store("b").contents()
    scene.backup(photos(2, seed=1), "two")
    scene.backup(photos(2, seed=2), "three")  # its entry on `a` bears witness to what `b` had
    replayed = MemoryObjectStore("b", objects=old)
    repository = scene.reopen(stores=[scene.store("a"), replayed])
    assert repository.tier("b").state is TierState.REPLAYED
    assert repository.tier("b").is_readable
    assert not repository.tier("b").is_ready
    assert len(repository.snapshots()) == 3
    repository.tier("b").refresh()
    assert repository.tier("b").state is TierState.REPLAYED


def test_rolled_back_tier_that_was_written_to_since_still_shows() -> None:
    """A fork of the history is told by the digest, not by the number."""
    scene = Scene(("a", "b"))
    old = scene.store("b").contents()
    scene.backup(photos(2), "one")
    scene.backup(photos(2, seed=1), "two")
    forked = MemoryObjectStore("b", objects=old)
    alone = scene.reopen(stores=[forked])
    assert alone.tier("b").is_ready  # alone, nothing tells
    for token in ("x", "y", "z"):
        scene.backup(photos(1, seed=9), token)
    assert scene.reopen(stores=[scene.store("a"), forked]).tier("b").state is TierState.REPLAYED


def test_rolled_back_tier_shows_against_a_head_that_the_caller_remembers() -> None:
    """With one tier alone the caller's memory is the witness."""
    scene = Scene()
    old = scene.store("a").contents()
    scene.backup(photos(1), "one")
    head = scene.tier("a").log.state.head
    replayed = MemoryObjectStore("a", objects=old)

    def state(stores: list[ObjectStore], **known: SeenTier) -> TierState:
        seen = {name: [each] for name, each in known.items()}
        return scene.reopen(stores=stores, known=lambda _: seen).tier("a").state

    identity = scene.tier("a").log.state.tier_id
    assert state(scene.stores, a=SeenTier(None, head)) is TierState.READY
    assert state(scene.stores, a=SeenTier(identity, head)) is TierState.READY
    assert state(scene.stores, a=SeenTier(b"another tier's id", head)) is TierState.READY  # given an id of its own
    assert state(scene.stores, a=SeenTier(b"another tier's id", Head(2, b"x" * 32))) is TierState.REPLAYED
    assert state([replayed], a=SeenTier(None, head), zzz=SeenTier(None, head)) is TierState.REPLAYED
    assert state([replayed], a=SeenTier(identity, head)) is TierState.REPLAYED
    assert state([replayed], a=SeenTier(None, Head(1, b"x" * 32))) is TierState.REPLAYED


def test_tiers_that_were_exchanged_are_called_so() -> None:
    """Each is whole, and what was seen at its place is at the other's: nothing is lost, and it is told what to do."""
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(2), "one")
    seen = {name: [SeenTier(scene.tier(name).log.state.tier_id, scene.tier(name).log.state.head)] for name in "abc"}
    seen[""] = [each for (each,) in seen.values()]

    def opened(**places: str) -> Repository:
        stores = [MemoryObjectStore(name, objects=scene.store(place).contents()) for name, place in places.items()]
        return scene.reopen(stores=stores, known=lambda _: {"": seen[""], **{name: seen[name] for name in places}})

    repository = opened(a="b", b="a", c="c")
    errors = [repository.tier(name).error for name in "ab"]
    assert all(isinstance(each, TiersExchanged) and "were exchanged" in str(each) for each in errors)
    assert [each.hint for each in errors if each is not None and "--accept-history" in each.hint]
    assert repository.tier("c").is_ready
    with pytest.raises(NoUsableTier, match="cannot be repaired"):
        repair(repository, repository.tier("a"))
    assert accept_history(repository, repository.tier("a"))
    assert repository.tier("a").is_ready
    # One that was put over another is no exchange: what was there is nowhere.
    assert not isinstance(opened(a="b", c="c").tier("a").error, TiersExchanged)
    assert opened(a="b", c="c").tier("a").state is TierState.REPLAYED
    # Nor is one that went back meanwhile.
    seen["b"] = [seen["b"][0]._replace(head=Head(9, b"x" * 32))]
    seen[""] = [each for name in "abc" for each in seen[name]]
    assert not isinstance(opened(a="b", b="a").tier("a").error, TiersExchanged)


def test_tier_that_was_away_is_behind_and_not_replayed() -> None:
    """Honest absence contradicts nothing."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "one")
    scene.backup(photos(2, seed=1), "two", only=["a"])
    scene.backup(photos(2, seed=2), "three", only=["a"])
    assert scene.reopen().states() == {"a": "ready", "b": "ready"}


# Snapshots


def test_snapshots_are_found_by_id_prefix_label_and_latest() -> None:
    """An ambiguous or unknown name is refused, never guessed."""
    scene = Scene(("a", "b"))
    made = [scene.backup(photos(1, seed=number), f"run {number}") for number in range(20)]
    ids = [snapshot.id for snapshot in made if snapshot is not None]
    repository = scene.reopen()
    assert [snapshot.id for snapshot in repository.snapshots()] == ids
    assert repository.find_snapshot("latest").id == ids[-1]
    assert repository.find_snapshot("latest", label="photos").id == ids[-1]
    assert repository.find_snapshot(ids[3].upper()).id == ids[3]
    with pytest.raises(SnapshotNotFound, match="several"):
        repository.find_snapshot(next(each[0] for each in ids if sum(o[0] == each[0] for o in ids) > 1))
    for missing in ("", "zz", "latest"):
        with pytest.raises(SnapshotNotFound):
            repository.find_snapshot(missing, label="nothing" if missing == "latest" else None)
    with pytest.raises(NoUsableTier):
        repository.tier("nowhere")


def test_snapshots_of_several_tiers_are_in_the_order_of_their_times() -> None:
    """Of tiers that each lack some, too."""
    scene = Scene(("a", "b"))
    tokens = [("one", None), ("two", ["a"]), ("three", ["b"]), ("four", None), ("five", ["a"])]
    for number, (token, only) in enumerate(tokens):
        scene.backup(photos(1, seed=number), token, only=only)
    assert [each.manifest.run_token for each in scene.reopen().snapshots()] == [token for token, _ in tokens]


# Committing


def test_commit_is_refused_when_the_tier_lacks_a_pack() -> None:
    """Deduplication never points at what a tier has not got."""
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "one", only=["a"])
    with pytest.raises(TierBehind):
        scene.backup(photos(3) | photos(1, seed=5), "two")
    assert not scene.reopen().tier("b").snapshots()
    assert scene.tier("b").lacks([b"z" * 32]) == {b"z" * 32}


def test_commit_is_refused_when_a_pack_was_marked_meanwhile() -> None:
    """Marks that came first win, and what was uploaded is kept for the next try."""
    scene = Scene()
    scene.backup(photos(3), "one")
    (data_pack, *_) = scene.tier("a").index.pack_ids()
    other = Scene.reopen(scene)
    other.tier("a").log.append(lambda _: PacksMarked(time_ns=1, packs=(data_pack.hex(),)))
    snapshot = scene.repository.snapshots()[0]
    with pytest.raises(PackMarked):
        scene.tier("a").commit_snapshot(msgspec.structs.replace(snapshot.manifest, run_token="new"), packs=[data_pack])
    # A writer that opens now does not rely on the pack any more and stores its chunks again.
    scene.reopen()
    assert scene.repository.session_index().excluded_packs() == {data_pack}
    again = scene.backup(photos(3), "three")
    assert again is not None
    assert read_back(scene.reopen(), again, scene.tier("a")) == photos(3)


def test_run_token_is_committed_once() -> None:
    """A run that is repeated gives the first snapshot back on every tier."""
    scene = Scene(("a", "b"))
    first = scene.backup(photos(2), "run")
    second = scene.backup(photos(2, seed=1), "run")
    assert first == second
    assert [list(tier.snapshots()) for tier in scene.reopen().tiers] == [[first.id], [first.id]]  # type: ignore[union-attr]


def test_commit_locks_what_the_snapshot_needs() -> None:
    """Packs, segments, keys, config and the entry itself are kept at least until the lock date."""
    scene = Scene(locks=True)
    first = scene.backup(photos(2), "one")
    assert first is not None
    store = scene.store("a")
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)  # noqa: TID251 - the store's clock is real
    manifest = msgspec.structs.replace(first.manifest, run_token="locked")
    packs = scene.tier("a").index.pack_ids()
    scene.tier("a").commit_snapshot(manifest, packs=packs, lock_until=until)
    locked = {key for key in store.contents() if (info := store.head(key)) and info.lock_until == until}
    expected = {f"packs/{pack.hex()[:2]}/{pack.hex()}" for pack in packs}
    expected |= {CONFIG_KEY, *_keys_below(store, "keys/"), *_keys_below(store, "index/")}
    number = scene.tier("a").log.state.head.number
    identity = scene.tier("a").log.state.by_token["locked"]
    assert locked == expected | {entry_object_key(number), manifest_object_key(identity)}
    assert scene.tier("a").log.state.locked_until == {identity: int(until.timestamp())}
    plain = Scene()
    made = plain.backup(photos(1), "run")
    assert made is not None
    with pytest.raises(LockNotProven):
        plain.tier("a").commit_snapshot(
            msgspec.structs.replace(made.manifest, run_token="more"), packs=[], lock_until=until
        )
    assert len(plain.tier("a").snapshots()) == 1


def test_index_change_is_dropped_when_another_writer_was_faster() -> None:
    """Two compactions of the same segments: the second changes nothing."""
    scene = Scene()
    scene.backup(photos(2), "run")
    tier = scene.tier("a")
    names = list(tier.named_segments())
    sealed = scene.repository.seal_segments(tier.index.segments())
    assert tier.change_index(sealed, names, "first")
    assert not tier.change_index(sealed, names, "second")
    assert list(scene.reopen().tier("a").log.state.segments) == [sealed[0].name]


def test_older_state_does_not_set_the_index_back() -> None:
    """A thread that read the log before another one's commit, and comes to the index after it, changes nothing."""
    scene = Scene()
    scene.backup(photos(2), "first")
    tier = scene.tier("a")
    older = tier.log.state
    scene.backup(photos(2, seed=1), "second")
    packs = tier.index.pack_ids()
    tier._load_segments(older)
    assert tier.index.pack_ids() == packs
    tier.load()
    assert tier.index.pack_ids() == packs


def test_segments_that_tiers_share_are_in_memory_once() -> None:
    """Four tiers do not cost four indexes."""
    scene = Scene(("a", "b"))
    scene.backup(photos(10), "run")
    repository = scene.reopen()
    left, right = repository.tier("a").index.segments(), repository.tier("b").index.segments()
    assert left[0] is right[0]
    assert repository.session_index().segments()[0] is left[0]
    assert segment_object_key("ab") == "index/ab"


def test_two_processes_back_up_at_once() -> None:
    """Both snapshots are committed, and each restores."""
    scene = Scene(("a", "b"))
    scenes = [scene.reopen() for _ in range(2)]
    errors: list[RepositoryError] = []

    def run(number: int) -> None:
        from tests.support.repositories import write_snapshot

        try:
            repository = scenes[number]
            write_snapshot(
                repository,
                repository.ready_tiers(),
                photos(4, seed=number),
                f"run {number}",
                SeededRandomness(number + 50),
            )
        except RepositoryError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    repository = scene.reopen()
    assert len(repository.snapshots()) == 2
    for snapshot in repository.snapshots():
        number = int(snapshot.manifest.run_token[-1])
        for tier in repository.tiers:
            assert read_back(repository, snapshot, tier) == photos(4, seed=number)


def test_log_entry_of_a_lost_answer_is_not_written_twice() -> None:
    """The commit's answer was lost: the run is repeated and gives the same snapshot."""
    scene = Scene()
    real = scene.tier("a").store

    class LosesOne(BrokenStore):
        lost = False

        def put(self, key: str, body: bytes, **options: object) -> None:
            self._inner.put(key, body, **options)  # type: ignore[arg-type]
            if key.startswith("log/") and not self.lost:
                self.lost = True
                raise TierUnreachable("no answer")

    store = LosesOne(real)
    scene.reopen(stores=[store])  # type: ignore[list-item]
    with pytest.raises(TierUnreachable):
        scene.backup(photos(2), "run")
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    assert len(scene.reopen(stores=[real]).snapshots()) == 1


def test_change_index_reaches_other_processes() -> None:
    """A tier that is refreshed sees what another writer added and replaced."""
    scene = Scene()
    scene.backup(photos(2), "one")
    reader = scene.repository
    scene.reopen()
    scene.backup(photos(2, seed=1), "two")
    assert len(reader.tier("a").snapshots()) == 1
    reader.tier("a").refresh()
    assert len(reader.tier("a").snapshots()) == 2
    assert len(reader.tier("a").index.segments()) == 2
    reader.tier("a").log.append(lambda _: IndexChanged(time_ns=1))


def test_only_an_empty_tier_is_added() -> None:
    """A tier that holds something is never begun anew."""
    scene = Scene(("a",))
    with pytest.raises(RepositoryExists):
        scene.repository.add_tier(scene.tier("a"))


def test_config_with_bytes_around_it_is_the_damaged_one() -> None:
    """What is authenticated is whole; still it is not the object that the others have, who are not to be blamed."""
    scene = Scene(("a", "b"))
    scene.store("a").put(CONFIG_KEY, scene.store("a").get(CONFIG_KEY) + b"\r")
    repository = scene.reopen()
    assert {tier.name: tier.state for tier in repository.tiers} == {"a": TierState.DAMAGED, "b": TierState.READY}


def test_face_of_the_package_has_each_name_that_it_states() -> None:
    """What is imported when it is asked for is there, and nothing else is."""
    import repository as face

    assert all(callable(getattr(face, name)) for name in face.__all__)
    assert face.Repository is Repository
    with pytest.raises(AttributeError, match="nothing"):
        face.nothing  # noqa: B018
