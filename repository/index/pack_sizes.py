"""What the index says of packs as a whole: how much is in them, and which cannot be whole, by name and size alone.

It costs no byte of a pack, so that every backup can ask it of all packs that it leans on. Bytes that were changed and
not cut off show only when they are read (`upkeep/check.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from repository.errors import Damaged, ObjectMissing, RepositoryError
from repository.format import TRAILER_LENGTH, pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import PARALLEL_READS, each_in_parallel, stored_packs
from repository.stored.few_rows import ROWS_FEW, pack_ends
from repository.stored.index_segment import Segment, columns_of, concatenated
from repository.tiers.port import ObjectStore

ASKED_ONE_BY_ONE: Final = 16
LISTED_FOR_ONE_ASKED: Final = 100
"""As many packs are listed in about the time in which one is asked for by its name."""


def least_sizes(segments: Iterable[Segment], of: Collection[bytes] | None = None) -> dict[bytes, int]:
    """How many bytes each pack of these segments has at the least; `of`: these packs alone.

    Segments that know none of them are not looked into: they may have millions of rows.
    """
    sizes: dict[bytes, int] = {}
    wanted = None if of is None else frozenset(of)
    for segment in segments:
        if wanted is not None and wanted.isdisjoint(segment.pack_ids()):
            continue
        for pack_id, end in _pack_ends(segment):
            if wanted is None or pack_id in wanted:
                sizes[pack_id] = max(end + TRAILER_LENGTH, sizes.get(pack_id, 0))
    return sizes


def _pack_ends(segment: Segment) -> Iterator[tuple[bytes, int]]:
    if segment.rows <= ROWS_FEW and "numpy" not in sys.modules:
        yield from zip(segment.pack_ids(), pack_ends(segment), strict=True)
        return
    import numpy as np

    records = columns_of(segment).records
    ends = np.zeros(segment.pack_count, dtype=np.uint64)
    np.maximum.at(ends, records[:, 0], records[:, 1].astype(np.uint64) + records[:, 2])
    yield from zip(segment.pack_ids(), ends.tolist(), strict=True)


def lost_packs(store: ObjectStore, index: Index, packs: Collection[bytes]) -> dict[bytes, RepositoryError]:
    """Those of `packs` that are not there, or too short for what `index` says of them, and why. Raises the store's."""
    least = least_sizes(index.segments(), packs)
    sizes = _sizes(store, packs, len(index.pack_ids()))
    lost: dict[bytes, RepositoryError] = {}
    for pack_id in sorted(packs):
        key, size = pack_object_key(pack_id), sizes.get(pack_id)
        if size is None:
            lost[pack_id] = ObjectMissing("a pack is not there", object_key=key)
        elif size < least.get(pack_id, 0):
            lost[pack_id] = Damaged(f"a pack has {size} bytes, too few", object_key=key)
    return lost


def _sizes(store: ObjectStore, packs: Collection[bytes], known: int) -> dict[bytes, int]:
    if len(packs) > max(ASKED_ONE_BY_ONE, known // LISTED_FOR_ONE_ASKED):
        return {pack.id: pack.size for pack in stored_packs(store)}
    infos = each_in_parallel(lambda pack_id: store.head(pack_object_key(pack_id)), packs, PARALLEL_READS)
    return {pack_id: info.size for pack_id, info in zip(packs, infos, strict=True) if info is not None}


def raw_sizes(segments: Iterable[Segment]) -> dict[bytes, int]:
    """How many bytes, uncompressed, the index says that each pack has. A row that lies in two segments counts once."""
    import numpy as np

    parts = [columns_of(segment) for segment in segments]
    if not parts:
        return {}
    joined = concatenated([part._replace(ids=part.ids[:0]) for part in parts])
    rows = joined.records[np.lexsort(joined.records.T)]  # `np.unique` would import all of `numpy.ma`
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    rows = rows[is_first]
    sums = np.bincount(rows[:, 0], weights=rows[:, 4], minlength=len(joined.pack_ids))
    return {pack_id: int(total) for pack_id, total in zip(joined.pack_ids, sums, strict=True)}
