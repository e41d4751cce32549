"""What a catch-up takes of other tiers' indexes.

Promise: no row of a pack that is not here comes with it, and none of what a prune of this tier deletes meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from repository.errors import LogContended, RepositoryError
from repository.index.segments import SealedSegment, segment_object_key
from repository.keys import crypto
from repository.log.state import LogState
from repository.opened.open_tier import OpenTier
from repository.stored.index_segment import Segment, without_packs
from repository.stored.object_reading import read_object

if TYPE_CHECKING:
    from repository.opened.repository import Repository

ATTEMPTS_MAX: Final = 20


class Brought(NamedTuple):
    """The packs that were copied to a tier, and those that its index knew before they were."""

    packs: Set[bytes]
    known_before: Set[bytes]


def copy_segments(repository: Repository, tier: OpenTier, brought: Brought, lock_until: datetime | None) -> int:
    """Copy each source's segments, and let them take the place of what that source compacted; returns how many.

    Raises `LogContended` and the store's errors.
    """
    return sum(_copied_from(repository, tier, source, brought, lock_until) for source in repository.sources_for(tier))


def _copied_from(
    repository: Repository, tier: OpenTier, source: OpenTier, brought: Brought, lock_until: datetime | None
) -> int:
    for _ in range(ATTEMPTS_MAX):
        copied = _take(repository, tier, source, brought, lock_until)
        if copied is not None:
            return copied
    raise LogContended("other writers change the index again and again", tier=tier.name)


def _take(
    repository: Repository, tier: OpenTier, source: OpenTier, brought: Brought, lock_until: datetime | None
) -> int | None:
    """None where a prune of this tier has gone on meanwhile: rows of what it deletes are not to come back."""
    own, theirs = tier.refresh(), source.log.state
    names, swept = frozenset(own.segments), frozenset(own.swept_packs)
    wanted = [name for name in theirs.segments if name not in names and name not in own.replaced_segments]
    # What is not owed was not brought; and what the tier's index has let go of since, a prune has deleted since.
    here = brought.packs - (brought.known_before - tier.index.pack_ids())
    not_here = theirs.marked_packs | swept | (tier.lacks(source.index.pack_ids()) - here)
    copies = [_segment(repository, source, tier, name, not_here) for name in wanted]
    added = [sealed for sealed in copies if sealed is not None]
    # What the source compacted may go only when all that took its place is here.
    is_whole = [sealed.name for sealed in added] == wanted
    compacted = sorted(name for name in names if name in theirs.replaced_segments)
    replaced = _replaceable(tier, compacted, added) if is_whole else []
    if not (added or replaced):
        return 0

    def is_as_seen(state: LogState) -> bool:
        return names <= state.segments.keys() and state.swept_packs <= swept

    is_done = tier.change_index(added, replaced, "caught up", lock_until=lock_until, only_if=is_as_seen)
    return len(added) if is_done else None


def _replaceable(tier: OpenTier, names: Sequence[str], added: Sequence[SealedSegment]) -> list[str]:
    """Which of these segments point at no pack that only they know.

    The source may have rebuilt its index without packs that it lost, and this tier still has.
    """
    segments = tier.named_segments()
    known = {pack_id for sealed in added for pack_id in sealed.segment.pack_ids()}
    known.update(*(segment.pack_ids() for name, segment in segments.items() if name not in names))
    return [name for name in names if name in segments and known.issuperset(segments[name].pack_ids())]


def _segment(
    repository: Repository, source: OpenTier, tier: OpenTier, name: str, not_here: Set[bytes]
) -> SealedSegment | None:
    """The segment as it lies on the source, without rows of packs that are not here.

    None where it is damaged, or says nothing then that the tier does not know.
    """
    if name in source.damaged_segments:
        return None
    try:
        body = read_object(source.store, segment_object_key(name))
        segment = source.named_segments()[name]
    except RepositoryError:
        return None
    if crypto.sha256(body).hex() != name:
        return None
    if segment.packs.isdisjoint(not_here):
        return SealedSegment(name, body, segment)
    if not tier.lacks(segment.packs - not_here):
        return None
    (sealed,) = repository.seal_segments([Segment(without_packs(segment, not_here))])
    return sealed
