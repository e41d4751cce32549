"""What a tier itself has to have, and whether it lies there: not what another tier or this machine's memory has.

Other writers add to what is known, and to the store, at any moment: what is known is noted before the store is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from repository.errors import Damaged, ObjectMissing, PackMarked
from repository.format import pack_object_key
from repository.index.segments import INDEX_PREFIX, SealedSegment, segment_object_key
from repository.keys.key_ring import KEY_PREFIX, kek_id_of, key_id_of
from repository.log.commit_log import CommitLog, LogState
from repository.stored.config import CONFIG_KEY
from repository.stored.index_segment import Segment
from repository.tiers.port import ObjectStore


class HasLog(Protocol):
    """What is asked of an `OpenTier`."""

    store: ObjectStore
    log: CommitLog
    keys_seen: frozenset[tuple[str, str]]

    @property
    def name(self) -> str:
        """What people call the tier."""
        ...

    def named_segments(self) -> dict[str, Segment]:
        """The live segments that could be loaded, by name."""
        ...


def expect_objects(tier: HasLog) -> None:
    """See that the key objects that lay there do so still, and the index's segments as they were stored.

    Raises `ObjectMissing`, `Damaged` and the store's errors.
    """
    seen, state = tier.keys_seen, tier.log.state
    there = {info.key for info in tier.store.list(KEY_PREFIX)}
    for key, _ in seen:
        is_gone_for_good = key_id_of(key) in state.destroyed_keys or kek_id_of(key) in state.ended_keks
        if key not in there and not is_gone_for_good:
            raise ObjectMissing("a key object is not there", tier=tier.name, object_key=key)
    expect_index(tier)


def expect_index(tier: HasLog) -> None:
    """See that this tier itself has its index's segments, whatever is in memory. Raises as `expect_objects`."""
    named = tier.named_segments()
    there = stored_segments(tier.store)
    # What is not there others may have replaced, and a prune deleted, since the log was read.
    live = tier.log.state if named.keys() <= there.keys() else tier.log.refresh()
    for name, segment in named.items():
        if name in live.segments:
            expect_stored(tier.name, name, segment, there)


def refuse_going(tier: str, state: LogState, packs: Iterable[bytes], new_segments: Iterable[SealedSegment]) -> None:
    """Raises `PackMarked` where one of these packs is marked, or one that only `new_segments` list was deleted.

    A writer's own packs come before a prune where another one took it for dead and put them into the index; if all that
    lies in them lies elsewhere as well, they go.
    """
    if marked := state.marked_packs.intersection(packs):
        raise PackMarked("packs were marked for deletion meanwhile", tier=tier, packs=len(marked))
    if not are_left(new_segments)(state):
        raise PackMarked("packs were deleted meanwhile", tier=tier, packs=len(state.let_go))


def are_left(segments: Iterable[SealedSegment], since: int = 0) -> Callable[[LogState], bool]:
    """Whether no prune deletes a pack of these segments, or has deleted one that lay there when the log had `since`
    entries.
    """
    listed = {pack_id for sealed in segments for pack_id in sealed.segment.pack_ids()}
    return lambda state: listed.isdisjoint(state.swept_packs) and are_none_gone(state, listed, since)


def are_none_gone(state: LogState, packs: Iterable[bytes], since: int) -> bool:
    """Whether no prune has deleted one of these packs since the log had so many entries."""
    return not state.let_go or all(state.let_go.get(each, 0) <= since for each in packs)


def deleted_packs(state: LogState, stored: Iterable[bytes]) -> set[bytes]:
    """What a prune that is not over has deleted: it may be in the index still, and is nobody's to count on."""
    return state.swept_packs.difference(stored)


def live_segments(log: CommitLog, names: Iterable[str], load: Callable[[str], Segment]) -> dict[str, Segment]:
    """These segments of the log by name, but for those that others have replaced and a prune has deleted meanwhile.

    Raises `ObjectMissing` of one that the log still names, and what `load` raises else.
    """
    found = dict[str, Segment]()
    for name in names:
        try:
            found[name] = load(name)
        except ObjectMissing:
            if name in log.refresh().segments:
                raise
    return found


def stored_segments(store: ObjectStore) -> dict[str, int]:
    """The segments that lie there, with their lengths."""
    return {info.key.removeprefix(INDEX_PREFIX): info.size for info in store.list(INDEX_PREFIX)}


def expect_stored(tier: str, name: str, segment: Segment, there: Mapping[str, int]) -> None:
    """Raises `ObjectMissing`, `Damaged` where `there` has not this segment as it was stored."""
    key = segment_object_key(name)
    if name not in there:
        raise ObjectMissing("an index segment is not there", tier=tier, object_key=key)
    if segment.stored_length and there[name] != segment.stored_length:
        raise Damaged("an index segment has another length than it was stored with", tier=tier, object_key=key)


def needed_objects(tier: HasLog, packs: Iterable[bytes]) -> dict[str, bytes | None]:
    """What snapshots with these packs need, the entries aside: object key → SHA-256, where it is known."""
    state = tier.log.state
    recorded = {key: bytes.fromhex(digest) for key, digest in state.key_objects.items()}
    present = [info.key for info in tier.store.list(KEY_PREFIX)]
    return {
        CONFIG_KEY: state.genesis,
        # Not what somebody else put there; until the log names the keys, what is there.
        **{key: recorded.get(key) for key in present if key in recorded or not recorded},
        **{segment_object_key(name): bytes.fromhex(name) for name in state.segments},
        # A pack's key says which bytes are its own.
        **dict.fromkeys(map(pack_object_key, packs)),
    }
