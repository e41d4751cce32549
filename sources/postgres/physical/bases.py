"""The base backups of a cluster: which there are, which leads to a place, and whether one leads into what is received.

Promise: what cannot be read is taken for none, so that a gap stays told until there is a base backup that ends it.
"""

from collections.abc import Iterator

from repository.errors import RepositoryError, RestoreRefused
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.restore.looking import SnapshotLook
from repository.retention.pins import reading_tiers
from repository.stored.snapshot import Snapshot
from sources.postgres.physical.reach import Wanted, reach
from sources.postgres.physical.record import BASE, Base, Received, base_of


def bases_of(repository: Repository, label: str) -> Iterator[tuple[Snapshot, Base]]:
    """The snapshots of a label that are of a cluster, with what they say of themselves, the newest first."""
    for snapshot in reversed(repository.snapshots(label)):
        try:
            base = _base_in(repository, snapshot)
        except RepositoryError:
            continue
        if base is not None:
            yield snapshot, base


def snapshot_for(repository: Repository, label: str, wanted: Wanted) -> Snapshot:
    """The newest that leads to the wanted place. Raises `RestoreRefused`, and what keeps the stream from being read."""
    refused: RestoreRefused | None = None
    for snapshot, base in bases_of(repository, label):
        if wanted.time_us is not None and wanted.time_us < base.ended_us:
            continue
        if wanted.position is not None and wanted.position < base.stop:
            continue
        if wanted.xid is None and wanted.name is None:
            return snapshot
        try:
            reach(repository, label, base, wanted, check=lambda: None)
        except RestoreRefused as error:
            refused = refused or error
        else:
            return snapshot
    raise refused or RestoreRefused(
        "no snapshot of the cluster is older than that", hint="`repo snapshots` shows them: choose a later place."
    )


def gap_since(repository: Repository, label: str, last: Received) -> int | None:
    """Since when, in microseconds since 1970, what is received now cannot be restored; None where it can be, or where
    there is no base backup yet and nothing was received before.
    """
    newest = 0
    for _, base in bases_of(repository, label):
        if last.carries(base):
            return None
        newest = newest or base.ended_us
    return max(newest, last.before_us) or None


def _base_in(repository: Repository, snapshot: Snapshot) -> Base | None:
    reader = ChunkReader(nearest_first(reading_tiers(repository, snapshot)), repository.keys)
    entry = SnapshotLook(snapshot, reader.chunk).at(BASE)
    if entry is None or entry.is_directory or "base" not in entry.extra.attributes:
        return None
    return base_of(entry)
