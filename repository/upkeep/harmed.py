"""Which snapshots a tier does not give back whole by itself, as far as is known of its damage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from repository.errors import NotInIndex, RepositoryError
from repository.format import PACK_HEADER_LENGTH, decode_pack_header, pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import is_fault_of_object, stored_packs
from repository.index.segments import INDEX_PREFIX
from repository.keys.key_ring import KeyRing, key_id_of
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
from repository.opened.present_objects import deleted_packs
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import Wholeness
from repository.upkeep.check_report import Finding, Problem

if TYPE_CHECKING:
    from repository.opened.repository import Repository

_HARMFUL: Final = frozenset((Problem.PACK_MISSING, Problem.PACK_DAMAGED, Problem.SEGMENT, Problem.TREE))
"""Damage with which chunks may be lost."""


def harmed_by(
    findings: Collection[Finding],
    tier: OpenTier,
    keys: KeyRing,
    snapshots: Iterable[Snapshot],
    check_cancelled: Callable[[], None],
) -> list[str]:
    """Those of `snapshots` (ids, in their order) that the tier cannot give back whole by itself.

    Of a damaged pack only that is lost which it does not give when asked: each of its chunks that a snapshot needs and
    that lies in no other pack is read from this tier alone. What other tiers have of its index and of its keys does not
    count, though it is in memory. Raises the tier's errors.
    """
    bad = {finding.object_key for finding in findings if finding.problem in _HARMFUL}
    lost_keys = _lost_keys(findings, tier, keys)
    if not lost_keys.isdisjoint(each.key_id for each in keys.roots()):
        return [each.id for each in snapshots]  # the tier alone cannot be opened, or what it says not be proven
    if not bad and not lost_keys:
        return []
    gone = {finding.object_key for finding in findings if finding.problem is Problem.PACK_MISSING}
    if tier.log.state.swept_packs:  # what a prune that is not over has deleted is in the index, and no finding
        deleted = deleted_packs(tier.log.state, (pack.id for pack in stored_packs(tier.store)))
        gone |= set(map(pack_object_key, deleted))
    bad |= gone
    alone = _Alone(tier, keys, bad, gone, lost_keys, check_cancelled)
    trees = Wholeness(alone.load, alone.has)
    harmed: list[str] = []
    for each in snapshots:
        if not trees.is_whole(each.manifest.root):
            harmed.append(each.id)
        if alone.silent:
            raise alone.silent[0]
    return harmed


class _Alone:
    """One tier without what is known to be bad on it: object keys of packs and segments (`bad`; `gone`: of these packs
    nothing is there), and ids of keys.
    """

    def __init__(
        self,
        tier: OpenTier,
        keys: KeyRing,
        bad: Collection[str],
        gone: Collection[str],
        lost_keys: Collection[bytes],
        check_cancelled: Callable[[], None],
    ) -> None:
        self._tier = tier
        self._bad = bad
        self._gone = gone
        self._lost_keys = lost_keys
        self._check_cancelled = check_cancelled
        self._index = _index_of(tier, bad)
        self._reader = ChunkReader([tier], keys, self._index)
        self._lost_frames: set[tuple[bytes, int]] = set()
        self._opens: dict[bytes, bool] = {}
        self.silent: list[RepositoryError] = []
        """Why a page was not given: nothing is known of that one."""

    def load(self, chunk_id: bytes) -> bytes:
        """The chunk's plaintext."""
        try:
            return self._reader.chunk(chunk_id)
        except RepositoryError as error:
            if not is_fault_of_object(error) and not isinstance(error, NotInIndex):
                self.silent.append(error)
            raise

    def has(self, chunk_id: bytes) -> bool:
        """Whether the tier gives the chunk."""
        self._check_cancelled()
        places = {each: pack_object_key(each.pack_id) for each in self._index.lookup_all(chunk_id)}
        if self._lost_keys:
            places = {each: key for each, key in places.items() if key in self._gone or self._has_key_of(each.pack_id)}
        if any(key not in self._bad for key in places.values()):
            return True
        # What was asked for in vain is not asked for again, chunk by chunk.
        left = {(each.pack_id, each.frame_offset) for each, key in places.items() if key not in self._gone}
        left -= self._lost_frames
        if not left:
            return False
        try:
            self.load(chunk_id)
        except RepositoryError:
            self._lost_frames.update(left)
            return False
        return True

    def _has_key_of(self, pack_id: bytes) -> bool:
        """Whether the key is here that opens the pack: its header says which."""
        if pack_id not in self._opens:
            try:
                header = self._tier.store.get_range(pack_object_key(pack_id), 0, PACK_HEADER_LENGTH)
                self._opens[pack_id] = decode_pack_header(header).key_id not in self._lost_keys
            except RepositoryError as error:
                if not is_fault_of_object(error):
                    raise
                self._opens[pack_id] = False
        return self._opens[pack_id]


def _index_of(tier: OpenTier, bad: Collection[str]) -> Index:
    """The tier's index without the segments (object keys) that do not lie there whole."""
    names = {key.removeprefix(INDEX_PREFIX) for key in bad if key.startswith(INDEX_PREFIX)}
    if not names:
        return tier.index
    return Index([each for name, each in tier.named_segments().items() if name not in names])


def _lost_keys(findings: Iterable[Finding], tier: OpenTier, keys: KeyRing) -> set[bytes]:
    """Ids of keys of which no wrapping that was opened lies whole on the tier."""
    bad = {finding.object_key for finding in findings if finding.problem is Problem.KEY}
    opening = {object_key for object_key, _ in keys.proven} & tier.log.state.key_objects.keys()
    left = {key_id_of(object_key) for object_key in opening - bad}
    return {bytes.fromhex(each) for each in map(key_id_of, bad) if each not in left}


def still_harmed(
    repository: Repository, tier: OpenTier, findings: Collection[Finding], check_cancelled: Callable[[], None]
) -> list[str]:
    """As `harmed_by`, of all snapshots of the tier but those whose keys were destroyed."""
    erased = Erased(repository, ChunkReader([tier], repository.keys).chunk)
    live = [each for each in tier.snapshots().values() if not erased.has(each)]
    return harmed_by(findings, tier, repository.keys, live, check_cancelled)
