"""Keeps the number of index segments small: many small ones become few, as in a log-structured tree.

Promise: after `compact_indexes` a lookup visits a number of runs that grows with the logarithm of the rows, and who
opens the tier reads few segments: beside full ones at most as many as there may be runs.
The old segments stay on the tier (a reader may be at them); a later prune removes what no entry names.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from repository.errors import RepositoryError
from repository.index.segments import SealedSegment
from repository.opened.open_tier import LockUntil, OpenTier, no_lock
from repository.opened.open_tiers import OpenTiers
from repository.stored.index_runs import runs_of
from repository.stored.index_segment import ROWS_MAX, Segment, in_mapped_file, merged

RUNS_MAX: Final = 8
FULL_ROWS: Final = ROWS_MAX // 2
"""What merging leaves of many rows has at least so many in each segment."""


def segments_to_merge(segments: dict[str, Segment], runs_max: int = RUNS_MAX) -> list[str]:
    """The names of the segments that should become one run; none while there are few runs, and few that are not full.

    Segments of a few rows each rarely overlap, so that any number of them can be one run.

    Takes the smallest first, and a larger one only while it is at most twice of what was taken before: so
    each row is rewritten a number of times that grows with the logarithm of the rows.
    """
    small = sum(segment.rows < FULL_ROWS for segment in segments.values())
    if small <= runs_max and len(runs_of(list(segments.values()))) <= runs_max:
        return []
    taken: list[str] = []
    rows = 0
    for name, segment in sorted(segments.items(), key=lambda item: (item[1].rows, item[0])):
        if len(taken) >= 2 and segment.rows > 2 * rows:
            break
        taken.append(name)
        rows += segment.rows
    return taken


def compact_indexes(
    repository: OpenTiers,
    runs_max: int = RUNS_MAX,
    *,
    tiers: Sequence[OpenTier] | None = None,
    lock_until: LockUntil = no_lock,
) -> int:
    """Compact the index of each of these tiers (all that are ready) where it has grown; returns how many changed.

    `lock_until`: of what takes the place of segments that snapshots need. Tiers with the same segments get the same new
    ones. A tier that fails on the way becomes UNREACHABLE.
    """
    made: dict[frozenset[str], list[SealedSegment]] = {}
    changed = 0
    for tier in repository.ready_tiers() if tiers is None else tiers:
        named = tier.named_segments()
        names = segments_to_merge(named, runs_max)
        if not names:
            continue
        key = frozenset(names)
        if key not in made:
            merging = [named[name] for name in names]
            made[key] = repository.seal_segments(Segment(in_mapped_file(body)) for body in merged(merging))
        changed += _replace(tier, made[key], names, lock_until(tier))
    return changed


def _replace(tier: OpenTier, added: list[SealedSegment], names: list[str], lock_until: datetime | None) -> bool:
    try:
        return tier.change_index(added, names, "compacted", lock_until=lock_until)
    except RepositoryError as error:
        tier.set_unreachable(error)
        return False
