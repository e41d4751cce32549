"""What keeps a repository whole: orphans adopted, tiers caught up, indexes compacted and rebuilt, keys changed."""

import gc
import weakref

import msgspec
import pytest

from repository.errors import LimitExceeded, LogContended, NoUsableTier, TierBehind, TierUnreachable, WrongKey
from repository.format import pack_object_key
from repository.index.pack_catalog import each_in_parallel, stored_packs
from repository.index.segments import SegmentCache
from repository.index.whole_packs import read_whole
from repository.opened import compaction, key_change, pending
from repository.opened.open_tier import TierState
from repository.opened.repository import Repository
from repository.stored.index_segment import Segment
from repository.stored.log_entry import PacksMarked, entry_object_key
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX
from repository.upkeep.accepted_history import accept_history
from repository.upkeep.catch_up import CatchUpProgress, catch_up, lag
from repository.upkeep.check import check
from repository.upkeep.check_report import CheckProgress, Problem
from repository.upkeep.rebuild import rebuild_index
from tests.support.repositories import BrokenStore, Scene, key_file, photos, read_back


def _flip(store: MemoryObjectStore, key: str, place: int = -1) -> None:
    changed = bytearray(store.get(key))
    changed[place] ^= 1
    store.put(key, bytes(changed))


def _below(store: MemoryObjectStore, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


# Writers that died


def test_what_a_dead_writer_uploaded_is_adopted_and_not_uploaded_again() -> None:
    """The next run finds every finished pack, and the marker goes when its packs are in the index."""
    scene = Scene(("a", "b"))
    scene.backup(photos(6), "run", commit=False)
    uploaded = [len(_below(scene.store(name), "packs/")) for name in "ab"]
    assert uploaded == [2, 2]
    assert len(_below(scene.store("a"), "pending/")) == 1
    scene.reopen()
    snapshot = scene.backup(photos(6), "run")
    assert snapshot is not None
    assert [len(_below(scene.store(name), "packs/")) for name in "ab"] == [2, 2]
    assert _below(scene.store("a"), "pending/") == []
    repository = scene.reopen()
    assert all(read_back(repository, snapshot, tier) == photos(6) for tier in repository.tiers)


def test_adoption_leaves_unreadable_packs_alone_and_names_them() -> None:
    """A pack that cannot be read back stays an orphan."""
    scene = Scene()
    scene.backup(photos(6), "run", commit=False)
    damaged, whole = _below(scene.store("a"), "packs/")
    _flip(scene.store("a"), damaged)
    scene.store("a").put("packs/zz/stranger", b"?")
    (adoption,) = scene.reopen().begin_writing(b"w" * 16)
    assert (adoption.tier, adoption.packs, len(adoption.markers)) == ("a", 1, 1)
    assert [pack_object_key(pack) for pack in adoption.damaged] == [damaged]
    assert {pack_object_key(pack) for pack in scene.tier("a").index.pack_ids()} == {whole}


def test_own_marker_of_a_repeated_announcement_is_not_another_writers() -> None:
    """A writer that announces itself twice adopts nothing."""
    scene = Scene()
    for _ in range(2):
        assert scene.repository.begin_writing(b"w" * 16) == [pending.Adoption("a", [], 0, [])]
    scene.repository.end_writing(b"w" * 16)
    assert _below(scene.store("a"), "pending/") == []


def test_tier_that_fails_when_writers_come_and_go_is_left_out() -> None:
    """The other tiers go on."""
    scene = Scene(("a", "b"))
    broken = BrokenStore(scene.store("a"))
    scene.reopen(stores=[broken, scene.store("b")])  # type: ignore[list-item]
    broken.failures["put"] = TierUnreachable("no answer")
    assert [adoption.tier for adoption in scene.repository.begin_writing(b"w" * 16)] == ["b"]
    assert scene.tier("a").state is TierState.UNREACHABLE
    broken.failures = {}
    scene.reopen(stores=[broken, scene.store("b")])  # type: ignore[list-item]
    broken.failures["delete"] = TierUnreachable("no answer")
    scene.repository.end_writing(b"w" * 16)
    assert scene.tier("a").state is TierState.UNREACHABLE
    assert scene.tier("b").is_ready


def test_segments_beyond_the_bound_are_mapped() -> None:
    """What does not fit the cache's memory lies in a file that the kernel may drop from memory."""
    import mmap

    scene = Scene()
    scene.backup(photos(2), "run")
    cache = SegmentCache(scene.repository.keys, resident_bytes_max=0)
    (name,) = scene.tier("a").log.state.segments
    segment = cache.load(scene.store("a"), name)
    assert isinstance(segment.body, mmap.mmap)
    assert cache.load(scene.store("a"), name) is segment


def test_segments_that_were_replaced_are_not_kept() -> None:
    """A repository that stays open holds what its indexes have, however often they were compacted."""
    scene = Scene(("a", "b"))
    made: list[weakref.ref[Segment]] = []
    for number in range(30):
        scene.backup(photos(2, seed=number), f"run {number}")
        made += [weakref.ref(segment) for segment in scene.tier("a").index.segments()]
    gc.collect()
    there = {id(segment) for each in made if (segment := each()) is not None}
    assert scene.tier("a").log.state.replaced_segments
    assert there == {id(segment) for tier in scene.repository.tiers for segment in tier.index.segments()}


def test_memory_of_segments_that_are_gone_is_given_back() -> None:
    """Else a repository that stays open would in the end have them all in files."""
    scene = Scene()
    scene.backup(photos(2), "run")
    (name,) = scene.tier("a").log.state.segments
    length = len(scene.tier("a").index.segments()[0].body)
    cache = SegmentCache(scene.repository.keys, resident_bytes_max=length)
    for _ in range(3):
        assert isinstance(cache.load(scene.store("a"), name).body, bytes | bytearray)
        gc.collect()
        assert not cache.holds(name)


def test_errors_of_the_tier_are_not_the_packs() -> None:
    """A tier that does not answer has no damaged packs."""
    scene = Scene()
    scene.backup(photos(6), "run")
    packs = list(stored_packs(scene.store("a")))
    assert {len(each.proven) for each in read_whole(scene.store("a"), scene.repository.keys, packs)} == {6, 3}
    broken = BrokenStore(scene.store("a"))
    broken.failures["get"] = TierUnreachable("no answer")
    with pytest.raises(TierUnreachable):
        list(read_whole(broken, scene.repository.keys, packs))  # type: ignore[arg-type]


def test_parallel_reads_keep_their_order_and_stop_when_nobody_listens() -> None:
    """Results come in the order of the items, a few at a time; closing the iterator cancels the rest."""
    started: list[int] = []

    def call(number: int) -> int:
        started.append(number)
        return number * 2

    assert list(each_in_parallel(call, range(50), 4)) == [number * 2 for number in range(50)]
    started.clear()
    results = each_in_parallel(call, range(1000), 4)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 8


# Compaction


def test_many_small_segments_become_few() -> None:
    """Thirty backups do not make thirty segments to look into, and nothing is lost."""
    scene = Scene(("a", "b"))
    snapshots = [scene.backup(photos(2, seed=number), f"run {number}") for number in range(30)]
    repository = scene.reopen()
    for tier in repository.tiers:
        assert len(tier.log.state.segments) <= compaction.RUNS_MAX + 1
        for number, snapshot in enumerate(snapshots):
            assert snapshot is not None
            assert read_back(repository, snapshot, tier) == photos(2, seed=number)
    assert repository.tier("a").log.state.segments.keys() == repository.tier("b").log.state.segments.keys()
    assert check(repository).is_ok


def test_compaction_takes_small_segments_and_leaves_big_ones() -> None:
    """A row is rewritten seldom: a segment much larger than the others stays."""
    scene = Scene()
    scene.backup(photos(300), "big")
    for number in range(9):
        scene.backup(photos(1, seed=number + 1), f"small {number}")
    named = scene.tier("a").named_segments()
    big = max(named, key=lambda name: named[name].rows)
    assert big not in compaction.segments_to_merge(named, 1)
    assert compaction.segments_to_merge(named, 100) == []
    assert compaction.compact_indexes(scene.repository, 100) == 0


def test_compaction_that_fails_on_a_tier_leaves_it_out() -> None:
    """The tier is unreachable afterwards, and what it had is still valid."""
    scene = Scene(("a", "b"))
    for number in range(4):
        scene.backup(photos(1, seed=number), f"run {number}")
    broken = BrokenStore(scene.store("a"))
    scene.reopen(stores=[broken, scene.store("b")])  # type: ignore[list-item]
    broken.failures["put"] = TierUnreachable("no answer")
    assert compaction.compact_indexes(scene.repository, 1) == 1
    assert scene.tier("a").state is TierState.UNREACHABLE
    assert check(scene.reopen(stores=scene.stores)).is_ok


# Catching up


def test_tier_that_was_away_is_caught_up_with_ciphertext() -> None:
    """Packs, segments and snapshots are copied byte for byte; then nothing is left to do."""
    scene = Scene(("a", "b"))
    scene.backup(photos(3), "one")
    for number in range(12):
        scene.backup(photos(3, seed=number), f"run {number}", only=["a"])
    repository = scene.reopen()
    missing = lag(repository, repository.tier("b"))
    assert (len(missing.packs), len(missing.snapshots)) == (23, 12)
    seen: list[CatchUpProgress] = []
    result = catch_up(repository, repository.tier("b"), on_progress=seen.append)
    assert result.is_complete
    assert (result.copied_packs, len(result.snapshots)) == (23, 12)
    assert result.copied_bytes > 0
    assert result.copied_segments > 0
    assert (seen[-1].packs_done, seen[-1].packs_total) == (23, 23)
    repository = scene.reopen()
    assert not lag(repository, repository.tier("b")).is_behind
    alone = scene.reopen(stores=[scene.store("b")])
    assert len(alone.snapshots()) == 13
    for snapshot in alone.snapshots()[1:]:
        number = int(snapshot.manifest.run_token.split()[1])
        assert read_back(alone, snapshot, alone.tier("b")) == photos(3, seed=number)
    assert check(alone, read_percent=100).is_ok
    assert _below(scene.store("b"), "pending/") == []
    assert set(_below(scene.store("b"), "packs/")) == set(_below(scene.store("a"), "packs/"))


def test_caught_up_tier_takes_part_in_the_next_backup() -> None:
    """The index is level again, compactions of the source included."""
    scene = Scene(("a", "b"))
    for number in range(20):
        scene.backup(photos(1, seed=number), f"run {number}", only=["a"])
    catch_up(scene.repository, scene.tier("b"))
    assert scene.tier("b").log.state.segments.keys() == scene.tier("a").log.state.segments.keys()
    scene.reopen()
    assert scene.backup(photos(1), "next") is not None
    assert len(scene.tier("b").snapshots()) == 21
    again = catch_up(scene.repository, scene.tier("b"))
    assert (again.copied_packs, again.copied_segments, again.snapshots) == (0, 0, [])


def test_empty_tier_is_begun_and_filled() -> None:
    """A new, empty place becomes a complete tier."""
    scene = Scene(("a",))
    snapshot = scene.backup(photos(4), "run")
    assert snapshot is not None
    fresh = MemoryObjectStore("new")
    repository = scene.reopen(stores=[scene.store("a"), fresh])
    assert repository.tier("new").state is TierState.EMPTY
    assert len(lag(repository, repository.tier("new")).snapshots) == 1
    assert catch_up(repository, repository.tier("new")).is_complete
    alone = scene.reopen(stores=[fresh])
    assert read_back(alone, snapshot, alone.tier("new")) == photos(4)


def test_catch_up_that_was_cut_off_goes_on_where_it_was() -> None:
    """What was copied is adopted, not copied again."""
    scene = Scene(("a", "b"))
    for number in range(6):
        scene.backup(photos(2, seed=number), f"run {number}", only=["a"])
    calls = 0

    def cancel() -> None:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        catch_up(scene.repository, scene.tier("b"), check_cancelled=cancel)
    copied = len(_below(scene.store("b"), "packs/"))
    assert 0 < copied < 12
    scene.reopen()
    result = catch_up(scene.repository, scene.tier("b"))
    assert result.copied_packs == 12 - copied
    assert check(scene.reopen()).is_ok


def test_catch_up_copies_again_what_lies_there_broken() -> None:
    """An orphan that cannot be adopted is no copy of the pack: it is replaced."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "run", only=["a"])
    first, second = _below(scene.store("a"), "packs/")
    scene.store("b").put(first, scene.store("a").get(first)[:-10])
    scene.store("b").put(second, scene.store("a").get(second))
    result = catch_up(scene.repository, scene.tier("b"))
    assert (result.copied_packs, result.is_complete) == (1, True)
    assert snapshot is not None
    assert check(scene.reopen(), read_percent=100).is_ok


def test_catch_up_passes_over_a_source_with_a_bad_copy() -> None:
    """A damaged or missing pack on one source comes from the next."""
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(3), "run", only=["a", "b"])
    first, second = _below(scene.store("a"), "packs/")
    _flip(scene.store("a"), first, 200)
    scene.store("a").delete(second)
    result = catch_up(scene.repository, scene.tier("c"))
    assert result.is_complete
    assert result.copied_packs == 2
    assert check(scene.reopen(stores=[scene.store("c")]), read_percent=100).is_ok


def test_pack_that_nobody_has_costs_its_snapshots_alone() -> None:
    """What can be copied is; what references the lost pack is left out and named."""
    scene = Scene(("a", "b"))
    lost = scene.backup(photos(2), "lost", only=["a"])
    before = set(_below(scene.store("a"), "packs/"))
    kept = scene.backup(photos(2, seed=1), "kept", only=["a"])
    assert lost is not None
    assert kept is not None
    scene.store("a").delete(min(before))
    result = catch_up(scene.reopen(), scene.tier("b"))
    assert (result.left_out, result.snapshots) == ([lost.id], [kept.id])
    assert [pack_object_key(pack) for pack in result.lost_packs] == [min(before)]
    assert not result.is_complete
    assert read_back(scene.repository, kept, scene.tier("b")) == photos(2, seed=1)


def test_catch_up_leaves_out_what_its_source_cannot_show() -> None:
    """A damaged segment of the only source hides its packs: their snapshots wait for a repair."""
    scene = Scene(("a", "b"))
    hidden = scene.backup(photos(2), "hidden", only=["a"])
    shown = scene.backup(photos(2, seed=1), "shown", only=["a"])
    assert hidden is not None
    assert shown is not None
    segment = next(name for name, number in scene.tier("a").log.state.segments.items() if number == 3)
    _flip(scene.store("a"), f"index/{segment}")
    repository = scene.reopen()
    assert repository.tier("a").state is TierState.DAMAGED
    result = catch_up(repository, repository.tier("b"))
    assert (result.left_out, result.snapshots) == ([hidden.id], [shown.id])


def test_catch_up_does_not_rely_on_marked_packs() -> None:
    """A snapshot whose pack this tier marked for deletion is left out."""
    scene = Scene(("a", "b"))
    first = scene.backup(photos(2), "one")
    second = scene.backup(photos(2) | photos(3, seed=4), "two", only=["a"])
    assert first is not None
    assert second is not None
    marked = scene.tier("b").index.lookup(scene.repository.keys.active().chunk_id(photos(2)[b"IMG_0000.JPG"]))
    if marked is None:
        pytest.fail("the chunk is not in the index")
    scene.tier("b").log.append(lambda _: PacksMarked(time_ns=1, packs=(marked.pack_id.hex(),)))
    result = catch_up(scene.reopen(), scene.tier("b"))
    assert result.snapshots + result.left_out == [second.id]
    assert set(scene.tier("b").snapshots()) == {first.id, *result.snapshots}


def test_catch_up_needs_a_tier_to_write_to_and_one_to_read_from() -> None:
    """Damaged tiers are repaired first; alone there is nothing to copy."""
    scene = Scene(("a", "b"))
    with pytest.raises(NoUsableTier, match="no other tier"):
        catch_up(scene.reopen(stores=[scene.store("a")]), scene.tier("a"))
    scene.store("a").put(entry_object_key(1), b"junk")
    scene.reopen()
    with pytest.raises(NoUsableTier, match="cannot be written"):
        catch_up(scene.repository, scene.tier("a"))


def test_snapshot_of_a_pack_that_the_index_lost_meanwhile_is_refused() -> None:
    """What is committed is judged by the index of the decision, not by the one that was loaded with the tier."""
    scene = Scene()
    snapshot = scene.backup(photos(3), "first")
    assert snapshot is not None
    stale, store = scene.tier("a"), scene.store("a")
    packs = stale.index.pack_ids()
    other = Repository.open([store], scene.provider)
    store.delete(pack_object_key(min(packs)))
    rebuild_index(other, other.tier("a"))
    manifest = msgspec.structs.replace(snapshot.manifest, run_token="second")
    with pytest.raises(TierBehind):
        stale.commit_snapshot(manifest, packs=packs)
    assert len(scene.reopen().snapshots()) == 1


class _SegmentsVanish(BrokenStore):
    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        if key.startswith("index/") and self.failures.get("segments"):
            raise self.failures["segments"]
        return self._inner.get(key, length_max=length_max)


def test_catch_up_takes_segments_from_the_next_source() -> None:
    """A source that stops answering in the middle is passed over."""
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(3), "run", only=["a", "b"])
    flaky = _SegmentsVanish(scene.store("a"))
    repository = scene.reopen(stores=[flaky, scene.store("b"), scene.store("c")])  # type: ignore[list-item]
    flaky.failures["segments"] = TierUnreachable("gone")
    assert catch_up(repository, repository.tier("c")).is_complete
    assert check(scene.reopen(stores=[scene.store("c")])).is_ok


def _replace_segments(scene: Scene, name: str) -> None:
    """Put other segments with the same rows in the place of a tier's, as another writer's compaction does."""
    other = Repository.open([scene.store(name)], scene.provider)
    tier = other.tier(name)
    assert tier.change_index(other.seal_segments(tier.index.segments()), list(tier.named_segments()), "compacted")


# Rebuilding the index


def test_index_is_rebuilt_from_packs_alone() -> None:
    """All segments are gone; afterwards every chunk is found again."""
    scene = Scene()
    snapshots = [scene.backup(photos(4, seed=number), f"run {number}") for number in range(3)]
    for key in _below(scene.store("a"), "index/"):
        scene.store("a").delete(key)
    repository = scene.reopen()
    seen: list[CheckProgress] = []
    result = rebuild_index(repository, repository.tier("a"), on_progress=seen.append)
    assert (result.packs, result.segments, result.damaged) == (6, 1, [])
    assert seen[-1].packs_done == 6
    assert repository.tier("a").is_ready
    repository = scene.reopen()
    assert result.rows == len(repository.tier("a").index)
    for number, snapshot in enumerate(snapshots):
        assert snapshot is not None
        assert read_back(repository, snapshot, repository.tier("a")) == photos(4, seed=number)
    assert check(repository, read_percent=100).is_ok


def test_rebuilt_index_leaves_out_and_names_damaged_packs() -> None:
    """A pack that cannot be read is not promised to anybody."""
    scene = Scene()
    scene.backup(photos(4), "run")
    damaged, _ = _below(scene.store("a"), "packs/")
    _flip(scene.store("a"), damaged)
    result = rebuild_index(scene.repository, scene.tier("a"))
    assert [pack_object_key(pack) for pack in result.damaged] == [damaged]
    assert result.packs == 1
    with pytest.raises(KeyboardInterrupt):
        rebuild_index(scene.repository, scene.tier("a"), check_cancelled=_interrupt)


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("is_again_and_again", [False, True])
def test_rebuild_that_a_compaction_keeps_from_its_place_is_made_again_or_told_as_not_done(
    is_again_and_again: bool,
) -> None:
    """Another writer replaced segments that the new index would have replaced: nothing was changed by this attempt."""
    scene = Scene()
    scene.backup(photos(4), "run")
    damaged, _ = _below(scene.store("a"), "packs/")
    _flip(scene.store("a"), damaged)
    ends: list[CheckProgress] = []

    def compact(progress: CheckProgress) -> None:
        if progress.packs_done == progress.packs_total:
            if is_again_and_again or not ends:
                _replace_segments(scene, "a")
            ends.append(progress)

    if is_again_and_again:
        with pytest.raises(LogContended):
            rebuild_index(scene.repository, scene.tier("a"), on_progress=compact)
        return
    result = rebuild_index(scene.repository, scene.tier("a"), on_progress=compact)
    assert len(ends) == 2
    tier = scene.reopen().tier("a")
    assert (len(tier.log.state.segments), len(tier.index)) == (result.segments, result.rows)


def test_index_of_a_tier_that_cannot_be_read_is_not_rebuilt() -> None:
    """An empty or foreign tier has no index to rebuild."""
    scene = Scene(("a",))
    repository = scene.reopen(stores=[scene.store("a"), MemoryObjectStore("new")])
    with pytest.raises(NoUsableTier):
        rebuild_index(repository, repository.tier("new"))


# Keys


def test_rewrapping_lets_the_new_key_open_and_keeps_the_old_one() -> None:
    """Rotation adds objects; after the old ones are deleted only the new key opens."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(photos(2), "run")
    assert snapshot is not None
    new = key_file(7)
    assert key_change.rewrap(scene.repository, new) == {"a": None, "b": None}
    for _ in range(2):
        assert key_change.rewrap(scene.repository, new) == {"a": None, "b": None}  # may be repeated
    head = scene.tier("a").log.state.head.number
    for provider in (key_file(), new):
        repository = Repository.open(scene.stores, provider)
        assert repository.keys.root.key_id == scene.repository.keys.root.key_id
        assert read_back(repository, snapshot, repository.tier("b")) == photos(2)
        assert repository.tier("a").log.state.head.number == head
    for name in "ab":
        for key in _below(scene.store(name), "keys/"):
            if not key.endswith(new.kek_id().hex()):
                scene.store(name).delete(key)
    with pytest.raises(WrongKey):
        Repository.open(scene.stores, key_file())
    assert Repository.open(scene.stores, new).states() == {"a": "ready", "b": "ready"}


def test_new_generations_and_domains_write_under_keys_of_their_own() -> None:
    """What was written before is still read; what comes is written under the newest key."""
    scene = Scene()
    before = scene.backup(photos(2), "one")
    assert before is not None
    assert key_change.add_generation(scene.repository, scene.provider) == {"a": None}
    assert key_change.add_generation(scene.repository, scene.provider, "tenant") == {"a": None}
    repository = scene.reopen()
    assert [(key.domain, key.generation) for key in repository.keys.all()] == [
        ("default", 1),
        ("default", 2),
        ("tenant", 1),
    ]
    after = scene.backup(photos(2), "two")
    assert after is not None
    assert repository.keys.active().generation == 2
    assert after.manifest.domain == before.manifest.domain == repository.keys.active().identity_id.hex()
    assert repository.keys.active("tenant").identity_id != repository.keys.active().identity_id
    # What was stored under the key before is recognised under the next one: nothing of the files is stored again.
    files = {repository.keys.active().chunk_id(body) for body in photos(2).values()}
    places = [repository.tier("a").index.lookup_all(chunk_id) for chunk_id in files]
    assert [len(each) for each in places] == [1, 1]
    repository = scene.reopen()
    assert read_back(repository, before, repository.tier("a")) == photos(2)
    assert read_back(repository, after, repository.tier("a")) == photos(2)
    assert check(repository, read_percent=100).is_ok
    for name in ("", "x" * 300):
        with pytest.raises(LimitExceeded):
            key_change.add_generation(repository, scene.provider, name)


def test_key_that_is_safe_nowhere_encrypts_nothing() -> None:
    """A tier's failure is told, and a generation that no tier has is not used."""
    scene = Scene(("a",))
    broken = BrokenStore(scene.store("a"))
    scene.reopen(stores=[broken])  # type: ignore[list-item]
    broken.failures["put"] = TierUnreachable("no answer")
    outcome = key_change.add_generation(scene.repository, scene.provider)
    assert isinstance(outcome["a"], TierUnreachable)
    assert scene.repository.keys.active().generation == 1


# Rolled-back tiers that an operator accepts


def test_accepted_history_ends_the_alarm_and_is_caught_up() -> None:
    """Somebody restored the tier from an old copy on purpose: it is used again, and nothing is hidden."""
    scene = Scene(("a", "b"))
    scene.backup(photos(2), "one")
    old = scene.store("b").contents()
    scene.backup(photos(2, seed=1), "two")
    scene.backup(photos(2, seed=2), "three")
    scene.stores[1] = MemoryObjectStore("b", objects=old)
    repository = scene.reopen()
    assert not accept_history(repository, repository.tier("a"))
    accept_history(repository, repository.tier("b"))
    assert repository.tier("b").is_ready
    assert catch_up(repository, repository.tier("b")).is_complete
    scene.backup(photos(2, seed=3), "four")
    repository = scene.reopen()
    assert repository.states() == {"a": "ready", "b": "ready"}
    assert [len(tier.snapshots()) for tier in repository.tiers] == [4, 4]
    assert check(repository, read_percent=100).is_ok


def test_accepting_one_tier_asks_only_those_that_bear_witness() -> None:
    """A tier whose witness is not contradicted has nothing to void."""
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(2), "one")
    old = scene.store("b").contents()
    scene.backup(photos(2, seed=1), "two", only=["a", "b"])
    scene.backup(photos(2, seed=2), "three", only=["a", "b"])
    heads = scene.tier("c").log.state.head.number
    scene.stores[1] = MemoryObjectStore("b", objects=old)
    repository = scene.reopen()
    assert repository.tier("b").state is TierState.REPLAYED
    accept_history(repository, repository.tier("b"))
    assert scene.reopen().tier("b").is_ready
    assert scene.tier("c").log.state.head.number == heads


def test_checking_reports_problem_kinds_by_stable_names() -> None:
    """The names of problems are part of the command's JSON."""
    assert sorted(problem.value for problem in Problem) == [
        "abandoned",
        "changed-while-saved",
        "checkpoint",
        "config",
        "erased",
        "hidden",
        "holds-unknown",
        "index-incomplete",
        "index-segment",
        "key",
        "locks-unknown",
        "log-entry",
        "log-lost",
        "manifest",
        "orphan",
        "pack-damaged",
        "pack-missing",
        "pack-shared",
        "place-blocked",
        "replayed",
        "strange-object",
        "stream-forked",
        "stream-piece",
        "stream-unnamed",
        "tier",
        "tree",
        "uncommitted",
        "unheld",
        "unlocked",
    ]
    assert msgspec.to_builtins(Problem.ORPHAN) == "orphan"


def test_tier_that_was_away_while_keys_changed_gets_them() -> None:
    """Caught up, it opens alone with the new key, and reads what was written under the new generation."""
    scene = Scene(("a", "b", "c"))
    scene.backup(photos(2), "one")
    scene.reopen(stores=[scene.store("a")])
    new = key_file(7)
    key_change.rewrap(scene.repository, new)
    key_change.add_generation(scene.repository, scene.provider)
    snapshot = scene.backup(photos(2, seed=1), "two")
    assert snapshot is not None
    with pytest.raises(WrongKey):
        Repository.open([scene.store("b")], new)
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("b")).is_complete
    alone = Repository.open([scene.store("b")], new)
    assert alone.states() == {"b": "ready"}
    assert len(_below(scene.store("b"), "keys/")) == 3
    assert check(scene.reopen(stores=[scene.store("b")]), read_percent=100).is_ok
    assert read_back(scene.repository, snapshot, scene.tier("b")) == photos(2, seed=1)
    # A source whose copy is damaged or that does not answer is passed over.
    key = max(_below(scene.store("b"), "keys/"))
    _flip(scene.store("a"), key)
    scene.store("a").delete(min(_below(scene.store("b"), "keys/")))
    repository = scene.reopen()
    assert catch_up(repository, repository.tier("c")).is_complete
    assert set(_below(scene.store("c"), "keys/")) == set(_below(scene.store("b"), "keys/"))
