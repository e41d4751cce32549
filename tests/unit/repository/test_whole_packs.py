"""What bears a pack's name enters an index only when it is that pack, and whole: nobody leans on anything else."""

import pytest

from repository.errors import TierUnreachable
from repository.format import TAG_LENGTH, pack_id_of, pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import stored_packs
from repository.index.whole_packs import read_whole
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.snapshot import Snapshot
from repository.tiers.memory import MemoryObjectStore
from repository.upkeep import harmed
from repository.upkeep.bad_packs import proven_by_rows
from repository.upkeep.check import check
from repository.upkeep.check_report import CheckReport, Problem
from repository.upkeep.harmed import harmed_by
from repository.upkeep.rebuild import rebuild_index
from repository.upkeep.repair import repair
from repository.upkeep.repair_result import RepairResult
from tests.support.repositories import Scene, photos, read_back

FILES = photos(6)


def _packs(scene: Scene) -> list[str]:
    return [info.key for info in scene.store("a").list("packs/")]


def _zeroed(store: MemoryObjectStore, key: str) -> bytes:
    """The pack with some bytes of its first frame's payload zeroed: header, footer and trailer are as they were."""
    body = bytearray(store.get(key))
    body[300 : 300 + TAG_LENGTH] = bytes(TAG_LENGTH)
    return bytes(body)


def _checked(scene: Scene) -> CheckReport:
    return check(scene.reopen(), read_percent=100)


def _repaired(scene: Scene) -> RepairResult:
    report = _checked(scene)
    return repair(scene.repository, scene.tier("a"), report)


def _expect_restorable(scene: Scene, snapshot: Snapshot | None) -> None:
    assert snapshot is not None
    assert read_back(scene.reopen(), snapshot, scene.tier("a")) == FILES


def _take_in_by_footer(scene: Scene, tier: OpenTier, key: str) -> None:
    """What was done with a pack whose footer could be read, before all of it had to be."""
    (pack,) = [each for each in stored_packs(tier.store) if pack_object_key(each.id) == key]
    (contents,) = read_whole(tier.store, scene.repository.keys, [pack])
    index = Index()
    index.add_pack(pack.id, contents.frames)
    tier.change_index(scene.repository.seal_segments(index.take_new_segments()), (), "adopted")


@pytest.mark.parametrize("by", ["next writer", "repair"])
def test_pack_with_a_broken_frame_is_not_adopted(by: str) -> None:
    """Its footer is whole. What it should have held is stored again, and restores."""
    scene = Scene()
    scene.backup(FILES, "dies", commit=False)
    store = scene.store("a")
    damaged = max(_packs(scene), key=lambda key: len(store.get(key)))
    store.put(damaged, _zeroed(store, damaged))
    report = _checked(scene)
    (finding,) = [each for each in report.findings if each.object_key == damaged]
    assert (finding.problem, finding.repairable_from) == (Problem.ORPHAN, ())
    assert "is no whole pack" in finding.detail
    if by == "repair":
        assert _repaired(scene).bad_orphans == [damaged]
    scene.reopen()
    snapshot = scene.backup(FILES, "next")
    _expect_restorable(scene, snapshot)
    assert _checked(scene).is_ok


def test_whole_orphan_that_was_read_is_called_whole() -> None:
    """One that was not read is not."""
    scene = Scene()
    scene.backup(FILES, "dies", commit=False)
    assert all("which is whole" in each.detail for each in _checked(scene).findings)
    assert all("shows when it is read" in each.detail for each in check(scene.repository).findings)


@pytest.mark.parametrize("kind", ["under another name", "named by its own bytes"])
def test_forged_pack_is_in_no_index(kind: str) -> None:
    """A copy under another name, and one with a broken frame that bears the right name for that."""
    scene = Scene()
    snapshot = scene.backup(FILES, "run")
    store = scene.store("a")
    genuine = max(_packs(scene), key=lambda key: len(store.get(key)))
    body = store.get(genuine) if kind == "under another name" else _zeroed(store, genuine)
    name = b"\x07" * 32 if kind == "under another name" else pack_id_of(body)
    forged = pack_object_key(name)
    store.put(forged, body)
    result = _repaired(scene)
    assert (result.bad_orphans, result.unrepaired) == ([forged], [])
    rebuilt = rebuild_index(scene.reopen(), scene.tier("a"))
    assert (rebuilt.left_out, rebuilt.damaged) == ([name], [])
    assert name not in scene.tier("a").index.pack_ids()
    assert _checked(scene).is_ok
    _expect_restorable(scene, snapshot)


def test_tier_that_took_in_a_copy_under_another_name_is_made_whole() -> None:
    """All that it holds lies in a whole pack: nothing is lost with its rows."""
    scene = Scene()
    snapshot = scene.backup(FILES, "run")
    forged = pack_object_key(b"\x07" * 32)
    scene.store("a").put(forged, scene.store("a").get(_packs(scene)[0]))
    _take_in_by_footer(scene, scene.tier("a"), forged)
    assert [each.object_key for each in _checked(scene).damage] == [forged]
    result = _repaired(scene)
    assert result.is_complete
    assert result.bad_orphans == [forged]
    assert _checked(scene).is_ok
    assert _repaired(scene).is_complete
    _expect_restorable(scene, snapshot)


def test_what_a_damaged_pack_lost_is_stored_again_after_a_repair() -> None:
    """As long as the index lists it, every backup to come counts on it."""
    scene = Scene()
    scene.backup(FILES, "dies", commit=False)
    store = scene.store("a")
    damaged = max(_packs(scene), key=lambda key: len(store.get(key)))
    store.put(damaged, _zeroed(store, damaged))
    _take_in_by_footer(scene, scene.reopen().tier("a"), damaged)
    assert [each.object_key for each in _repaired(scene).unrepaired] == [damaged]
    scene.reopen()
    _expect_restorable(scene, scene.backup(FILES, "next"))


def test_damaged_pack_of_a_rebuilt_index_comes_whole_from_another_tier() -> None:
    """What was left out of the index while the other tier was away comes back with it."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(FILES, "run")
    store = scene.store("a")
    damaged = max(_packs(scene), key=lambda key: len(store.get(key)))
    store.put(damaged, _zeroed(store, damaged))
    alone = scene.reopen(stores=[store])
    assert not repair(alone, alone.tier("a"), check(alone, read_percent=100)).is_complete
    repository = scene.reopen()
    assert repair(repository, repository.tier("a")).is_complete
    assert _checked(scene).is_ok
    _expect_restorable(scene, snapshot)


def test_what_a_lost_pack_held_is_stored_again_after_a_repair() -> None:
    """The only tier's pack is gone: as long as the index lists it, every backup to come counts on it."""
    scene = Scene()
    first = scene.backup(FILES, "run")
    assert first is not None
    (lost,) = [key for key in _packs(scene) if not scene.store("a").get(key)[12]]  # of contents
    scene.store("a").delete(lost)
    result = _repaired(scene)
    assert {each.problem for each in result.unrepaired} == {Problem.PACK_MISSING, Problem.TREE}
    assert result.harmed == [first.id]
    left = _checked(scene)
    assert [(each.problem, each.object_key) for each in left.damage] == [(Problem.TREE, f"snapshot {first.id}")]
    _expect_restorable(scene, scene.backup(FILES, "next"))
    _expect_restorable(scene, first)
    assert _checked(scene).is_ok
    assert _repaired(scene).is_complete


def test_lost_pack_that_comes_back_after_a_repair_is_taken_in_again() -> None:
    """Its rows left the index and no byte of it was needed to leave them: it is an orphan like any other."""
    scene = Scene()
    first = scene.backup(FILES, "run")
    store = scene.store("a")
    lost = {key: store.get(key) for key in _packs(scene)}
    for key in lost:
        store.delete(key)
    assert not _repaired(scene).is_complete
    for key, body in lost.items():
        store.put(key, body)
    assert _repaired(scene).is_complete
    assert _checked(scene).is_ok
    _expect_restorable(scene, first)


def test_lost_pack_comes_from_another_tier_that_was_away_when_it_left_the_index() -> None:
    """The other tier's snapshots say what is lacking."""
    scene = Scene(("a", "b"))
    snapshot = scene.backup(FILES, "run")
    store = scene.store("a")
    for key in _packs(scene):
        store.delete(key)
    alone = scene.reopen(stores=[store])
    assert not repair(alone, alone.tier("a")).is_complete
    repository = scene.reopen()
    assert repair(repository, repository.tier("a")).is_complete
    assert _checked(scene).is_ok
    _expect_restorable(scene, snapshot)


def _with_a_broken_frame(scene: Scene) -> tuple[Snapshot, Snapshot, str]:
    """Two snapshots, a pack of contents with one frame damaged, of which the first needs all and the second a part."""
    first, second = scene.backup(FILES, "all"), scene.backup(dict(list(FILES.items())[1:]), "but one")
    assert first is not None
    assert second is not None
    store = scene.store("a")
    damaged = next(key for key in _packs(scene) if not store.get(key)[12])
    store.put(damaged, _zeroed(store, damaged))
    return first, second, damaged


def test_only_those_snapshots_are_harmed_that_need_what_is_damaged() -> None:
    """The other frames of a damaged pack restore; what it lost and another pack has does, too."""
    scene = Scene()
    first, second, damaged = _with_a_broken_frame(scene)
    report = _checked(scene)
    assert [each.object_key for each in report.damage] == [damaged]
    assert report.harmed == {"a": [first.id]}
    assert second.id not in _repaired(scene).harmed
    scene.reopen()
    _expect_restorable(scene, scene.backup(FILES, "next"))
    _expect_restorable(scene, first)
    assert _checked(scene).harmed == {"a": []}


def test_what_a_pack_lost_harms_its_snapshots_where_the_index_goes_on_pointing_at_it() -> None:
    """The log lacks an entry that nobody has, so that the index cannot be made anew: what was lost is told.

    The last look of a repair reads no packs; what was known of them before it counts.
    """
    scene = Scene()
    first, _, damaged = _with_a_broken_frame(scene)
    lost = scene.backup(dict(list(FILES.items())[1:]), "lost")
    scene.backup(dict(list(FILES.items())[1:]), "last")
    assert lost is not None
    for key in (entry_object_key(scene.tier("a").log.state.entry_of[lost.id]), manifest_object_key(lost.id)):
        scene.store("a").put(key, b"?")
    result = _repaired(scene)
    assert damaged in {each.object_key for each in result.unrepaired}
    assert result.harmed == [first.id]


def test_damaged_pack_is_let_go_when_nothing_of_it_is_lacking() -> None:
    """What is whole of it lies in a new pack then; it stays as it is, and nobody counts on it or is told to mend it."""
    scene = Scene()
    first, second, damaged = _with_a_broken_frame(scene)
    store = scene.store("a")
    before = store.contents()
    assert {each.object_key for each in _repaired(scene).unrepaired} == {damaged, f"snapshot {first.id}"}
    assert before.items() <= store.contents().items()
    assert [each.object_key for each in _checked(scene).damage] == [f"snapshot {first.id}"]
    scene.reopen()
    _expect_restorable(scene, scene.backup(FILES, "next"))
    assert _checked(scene).is_ok
    again = _repaired(scene)
    assert again.is_complete
    assert again.actions == []
    packs = len(_packs(scene))
    store.delete(damaged)
    assert len(_packs(scene)) == packs - 1
    _expect_restorable(scene, first)
    assert _checked(scene).findings == []
    assert read_back(scene.repository, second, scene.tier("a")) == dict(list(FILES.items())[1:])


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_index_that_points_at_what_is_whole_of_a_damaged_pack_is_freed_of_it(names: tuple[str, ...]) -> None:
    """What was lost of it was stored again: nothing is lacking, and no repair ended with that."""
    scene = Scene(names)
    first, _, damaged = _with_a_broken_frame(scene)
    for name in names:
        scene.store(name).put(damaged, scene.store("a").get(damaged))
    scene.reopen()
    for name in names:
        rebuild_index(scene.repository, scene.tier(name))
    scene.reopen()
    scene.backup(FILES, "next")
    report = _checked(scene)
    assert [(each.tier, each.object_key) for each in report.damage] == [(name, damaged) for name in names]
    assert not any(report.harmed.values())
    for name in names:
        result = repair(scene.repository, scene.tier(name), report)
        assert result.is_complete
        assert result.bad_orphans == [damaged]
    assert _checked(scene).is_ok
    _expect_restorable(scene, first)


def test_what_lies_before_the_end_of_a_pack_that_was_cut_off_restores_after_a_repair() -> None:
    """The footer is gone; the index knows the frames, and what of them is whole goes on being listed, in a new pack."""
    scene = Scene()
    whole = dict(list(FILES.items())[:-1])
    first, second = scene.backup(FILES, "all"), scene.backup(whole, "but one")
    assert first is not None
    assert second is not None
    store = scene.store("a")
    (damaged,) = [key for key in _packs(scene) if not store.get(key)[12]]
    store.put(damaged, store.get(damaged)[: 100 + len(whole) * 380])
    result = _repaired(scene)
    assert result.harmed == [first.id]
    assert [each.object_key for each in _checked(scene).damage] == [f"snapshot {first.id}"]
    assert read_back(scene.reopen(), second, scene.tier("a")) == whole


class _FallsSilent(ChunkReader):
    """A reader whose tier goes away."""

    def chunk(self, chunk_id: bytes) -> bytes:
        """See `ChunkReader`."""
        raise TierUnreachable("gone", tier=f"a, asked for {chunk_id.hex()[:2]}")


def test_tier_that_falls_silent_while_harm_is_looked_for_is_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be known is not called lost, nor whole."""
    scene = Scene()
    snapshot = scene.backup(FILES, "run")
    assert snapshot is not None
    store, tier = scene.store("a"), scene.tier("a")
    for key in _packs(scene):
        store.put(key, _zeroed(store, key))
    findings = _checked(scene).findings
    tier = scene.tier("a")
    monkeypatch.setattr(harmed, "ChunkReader", _FallsSilent)
    with pytest.raises(TierUnreachable):
        harmed_by(findings, tier, scene.repository.keys, [snapshot], lambda: None)

    def silent(*_: object) -> bytes:
        raise TierUnreachable("gone", tier="a")

    monkeypatch.setattr(store, "get_range", silent)
    with pytest.raises(TierUnreachable):
        proven_by_rows(scene.repository, tier, next(stored_packs(store)).id)
