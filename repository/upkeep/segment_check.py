"""An index segment, judged by itself: where the packs end that it points into, and whether a writer made it so."""

from __future__ import annotations

from collections.abc import Iterator

from repository.errors import Damaged
from repository.format import CHUNK_LENGTH_MAX
from repository.stored.index_segment import Segment, columns_of


def pack_ends(segment: Segment) -> Iterator[tuple[bytes, int]]:
    """For each pack of a segment, where its last frame ends, in bytes."""
    import numpy as np

    records = columns_of(segment).records
    ends = np.zeros(segment.pack_count, dtype=np.uint64)
    np.maximum.at(ends, records[:, 0], records[:, 1].astype(np.uint64) + records[:, 2])
    yield from zip(segment.pack_ids(), ends.tolist(), strict=True)


def verify_rows(segment: Segment) -> None:
    """Raises `Damaged` unless the rows are what a writer makes: sorted, with packs that exist, in range."""
    import numpy as np

    columns = columns_of(segment)
    prefixes = columns.ids[:, 0].astype("=u8")
    if bool((prefixes[1:] < prefixes[:-1]).any()):
        raise Damaged("rows of an index segment are out of order")
    ends = columns.records[:, 3].astype(np.uint64) + columns.records[:, 4]
    if bool((columns.records[:, 0] >= segment.pack_count).any()) or bool((ends > CHUNK_LENGTH_MAX).any()):
        raise Damaged("rows of an index segment are out of range")
