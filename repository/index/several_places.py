"""Chunks that lie in several packs: which of their places counts.

Promise: each chunk gets one of its places, one in a pack that is needed anyway where there is one; so no pack is kept,
or locked, for the sake of what lies in another one as well. The same chunks give the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repository.index.index import Location
from repository.stored.index_segment import Segment, columns_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rank = Callable[[Collection[bytes]], Mapping[bytes, float]]
"""How much each of these packs is to be preferred; one that is not named least."""


def in_several_rows(segments: Iterable[Segment]) -> set[bytes]:
    """The ids of which these segments have more than one row: all that lie in several packs, and few others."""
    import numpy as np

    parts = [columns_of(segment).ids for segment in segments if segment.rows]
    if not parts:
        return set()
    prefixes = np.concatenate([part[:, 0] for part in parts]).astype(np.uint64)
    prefixes.sort()
    twice = prefixes[1:][prefixes[1:] == prefixes[:-1]]
    if not len(twice):
        return set()
    return {part[row].tobytes() for part in parts for row in np.nonzero(_is_among(part[:, 0], twice))[0]}


def _is_among(prefixes: NDArray[Any], ordered: NDArray[Any]) -> NDArray[Any]:
    """`np.isin`, which would import all of `numpy.ma` and sort what is sorted."""
    import numpy as np

    asked = prefixes.astype(np.uint64)
    found: NDArray[Any] = ordered[np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)] == asked
    return found


def choose(places: Mapping[bytes, Sequence[Location]], taken: Collection[bytes], rank: Rank) -> dict[bytes, Location]:
    """One place of each chunk (by id). `taken`: packs that something else needs. `rank` is asked at most once, only of
    packs between which nothing else decides.
    """
    chosen: dict[bytes, Location] = {}
    undecided: dict[bytes, Sequence[Location]] = {}
    for chunk_id, found in places.items():
        place = found[0] if len(found) == 1 else next((each for each in found if each.pack_id in taken), None)
        if place is None:
            undecided[chunk_id] = found
        else:
            chosen[chunk_id] = place
    packs = {each.pack_id for found in undecided.values() for each in found}
    ranks = rank(packs) if packs else {}
    also = {place.pack_id for place in chosen.values()}
    for chunk_id in sorted(undecided):
        found = undecided[chunk_id]
        # Of equal ones the first that the index names.
        best = max(found, key=lambda each: (each.pack_id in also, ranks.get(each.pack_id, 0.0)))
        chosen[chunk_id] = best
        also.add(best.pack_id)
    return chosen
