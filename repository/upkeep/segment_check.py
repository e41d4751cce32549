"""An index segment, judged by itself: whether a writer made it so."""

from __future__ import annotations

from repository.errors import Damaged
from repository.format import CHUNK_LENGTH_MAX
from repository.stored.index_segment import Segment, columns_of


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
