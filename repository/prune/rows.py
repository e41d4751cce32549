"""What the index says that lies in some packs."""

from collections.abc import Collection, Iterable, Iterator

from repository.stored.index_segment import Segment, columns_of


def rows_of(segments: Iterable[Segment], packs: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The ids of all chunks of which a row says that they lie in one of these packs, and in which."""
    import numpy as np

    for segment in segments:
        if segment.packs.isdisjoint(packs):
            continue
        columns = columns_of(segment)
        numbers = [number for number, pack_id in enumerate(columns.pack_ids) if pack_id in packs]
        for row in np.nonzero(np.isin(columns.records[:, 0], numbers))[0]:
            yield columns.ids[row].tobytes(), columns.pack_ids[columns.records[row, 0]]
