"""Which gaps of a followed database are open: from when on nothing leads to what was committed, for want of a dump.

Promise: a gap is open until a dump is there that leads on behind it; what cannot be read is taken for no such dump.
Nothing else is remembered: the stream says where it was broken, the snapshots say from where it is played.
"""

from collections.abc import Iterator, Sequence

import msgspec

from repository.errors import RepositoryError
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.restore.looking import SnapshotLook
from repository.retention.pins import reading_tiers
from repository.stored.snapshot import Snapshot
from repository.stored.tree import content_ids
from sources.postgres.catalog import DESCRIPTION, Catalog, decoded
from sources.postgres.following.record import Life
from sources.postgres.following.visibility import snapshot_of


def dumps_of(repository: Repository, label: str) -> Iterator[Catalog]:
    """What the dumps of a label say of themselves, the newest first, as far as it can be read."""
    for snapshot in reversed(repository.snapshots(label)):
        try:
            catalog = _catalog_of(repository, snapshot)
        except (RepositoryError, msgspec.MsgspecError, ValueError):
            continue
        if catalog is not None:
            yield catalog


def open_gaps(lives: Sequence[Life], dumps: Iterator[Catalog]) -> list[int]:
    """Since when, in microseconds since 1970, the gaps are that no dump has ended; the earliest first.

    `dumps`: the newest first; no more are asked for than it takes. A stream that was never broken, and of which there
    is no dump yet, has no gap; one that began behind the newest dump has, for nothing leads on from that.
    """
    if not lives:
        return []
    newest: int | None = None
    for dump in dumps:
        newest = newest or dump.seen_us or None  # an early version's dump does not say it
        if not dump.snapshot or not dump.system:
            continue
        moment = snapshot_of(dump.snapshot)
        found = [number for number, life in enumerate(lives) if life.carries(moment, dump.system)]
        if found:
            led = found[-1]
            ends = [each.last.time_us for each in lives[led:-1]]
            return [max(ends[0], dump.seen_us), *ends[1:]] if ends else _closed(lives)
        if dump.system == lives[-1].last.system:
            break  # no earlier one sees more
    ends = [each.last.time_us for each in lives[:-1]]
    return ([] if newest is None else [newest]) + ends + _closed(lives)


def _closed(lives: Sequence[Life]) -> list[int]:
    """The end of the last life, where it is known that something was committed behind it."""
    return [lives[-1].last.time_us] if lives[-1].last.is_gap else []


def _catalog_of(repository: Repository, snapshot: Snapshot) -> Catalog | None:
    reader = ChunkReader(nearest_first(reading_tiers(repository, snapshot)), repository.keys)
    entry = SnapshotLook(snapshot, reader.chunk).at(DESCRIPTION)
    if entry is None or entry.is_directory:
        return None
    ids = content_ids(entry.content or b"", entry.extra.depth, reader.chunk)
    return decoded(b"".join(map(reader.chunk, ids)))
