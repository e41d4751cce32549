"""Which snapshots a tier does not give back whole by itself, as far as is known of its damage."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from repository.errors import NotInIndex, RepositoryError
from repository.format import pack_object_key
from repository.index.pack_catalog import is_fault_of_object
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader
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
    reader: ChunkReader,
    snapshots: Iterable[Snapshot],
    check_cancelled: Callable[[], None],
) -> list[str]:
    """Those of `snapshots` (ids, in their order) that the tier cannot give back whole by itself.

    Of a damaged pack only that is lost which it does not give when asked: each of its chunks that a snapshot needs and
    that lies in no other pack is read with `reader`, which has this tier alone. Raises the tier's errors.
    """
    bad = {finding.object_key for finding in findings if finding.problem in _HARMFUL}
    gone = {finding.object_key for finding in findings if finding.problem is Problem.PACK_MISSING}
    lost_frames: set[tuple[bytes, int]] = set()
    if not bad:
        return []

    def has(chunk_id: bytes) -> bool:
        check_cancelled()
        places = {each: pack_object_key(each.pack_id) for each in tier.index.lookup_all(chunk_id)}
        if any(key not in bad for key in places.values()):
            return True
        # What was asked for in vain is not asked for again, chunk by chunk.
        left = {(each.pack_id, each.frame_offset) for each, key in places.items() if key not in gone} - lost_frames
        if not left:
            return False
        try:
            load(chunk_id)
        except RepositoryError:
            lost_frames.update(left)
            return False
        return True

    silent: list[RepositoryError] = []

    def load(chunk_id: bytes) -> bytes:
        try:
            return reader.chunk(chunk_id)
        except RepositoryError as error:
            if not is_fault_of_object(error) and not isinstance(error, NotInIndex):
                silent.append(error)  # of a page that is not given for that nothing is known
            raise

    trees = Wholeness(load, has)
    harmed: list[str] = []
    for each in snapshots:
        if not trees.is_whole(each.manifest.root):
            harmed.append(each.id)
        if silent:
            raise silent[0]
    return harmed


def still_harmed(
    repository: Repository, tier: OpenTier, findings: Collection[Finding], check_cancelled: Callable[[], None]
) -> list[str]:
    """As `harmed_by`, of all snapshots of the tier but those whose keys were destroyed."""
    reader = ChunkReader([tier], repository.keys)
    erased = Erased(repository, reader.chunk)
    live = [each for each in tier.snapshots().values() if not erased.has(each)]
    return harmed_by(findings, tier, reader, live, check_cancelled)
