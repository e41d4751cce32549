"""What restores of a snapshot to something else than a folder have in common: reading, troubles, progress.

Promise: what is restored comes from tiers that have the snapshot, those that were named alone where some were; every
trouble is counted, and told as it comes.
"""

import threading
from collections.abc import Iterator

from repository.errors import RepositoryError, RestoreCancelled
from repository.opened.pack_access import ChunkReader
from repository.opened.repository import Repository
from repository.progress import Progress
from repository.restore.options import RestoreOptions, RestoreResult, RestoreTrouble, Trouble, trouble_of
from repository.restore.path_filter import PathFilter
from repository.restore.restore import TROUBLES_KEPT_MAX, tiers_to_read
from repository.restore.snapshot_walk import SnapshotWalk
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, content_ids


class Restoring:
    """One restore. Troubles may come from any thread; `_lock` is held while the result is counted up."""

    def __init__(self, repository: Repository, snapshot: Snapshot, options: RestoreOptions) -> None:
        """Raises `SnapshotNotFound` (of the tiers that were named none has it) and `NoUsableTier`."""
        self._reader = ChunkReader(tiers_to_read(repository, snapshot, options.tiers), repository.keys)
        self._snapshot = snapshot
        self._options = options
        self._result = RestoreResult()
        self._lock = threading.Lock()
        self._found_files = self._found_bytes = 0
        self._is_walked = False

    def _walk(self, paths: PathFilter) -> SnapshotWalk:
        def damaged(path: bytes, error: RepositoryError) -> None:
            self._trouble(path, trouble_of(error), str(error))

        return SnapshotWalk(
            self._reader.chunk, paths, damaged, lambda path: self._trouble(path, Trouble.HOSTILE_NAME, "")
        )

    def _pieces_of(self, entry: Entry) -> Iterator[bytes]:
        """The content of a file, chunk by chunk, each authenticated. Raises what keeps it from being read."""
        for chunk_id in content_ids(entry.content or b"", entry.extra.depth, self._reader.chunk):
            self._check()
            yield self._reader.chunk(chunk_id)

    def _check(self) -> None:
        """Raise `RestoreCancelled` where the restore was called off."""
        if self._options.is_cancelled is not None and self._options.is_cancelled():
            raise RestoreCancelled("restore was cancelled")

    def _trouble(self, path: bytes, trouble: Trouble, detail: str) -> None:
        found = RestoreTrouble(path, trouble, detail)
        with self._lock:
            counts = self._result.trouble_counts
            counts[trouble] = counts.get(trouble, 0) + 1
            if len(self._result.troubles) < TROUBLES_KEPT_MAX:
                self._result.troubles.append(found)
        if self._options.on_trouble is not None:
            self._options.on_trouble(found)

    def _restored(self, entry: Entry) -> None:
        """A file is there."""
        with self._lock:
            self._result.files += 1
            self._result.bytes += entry.stat.size

    def _progress(self) -> Progress:
        return Progress(
            files_found=self._found_files,
            files_done=self._result.files,
            bytes_found=self._found_bytes,
            bytes_done=self._result.bytes,
            is_walk_complete=self._is_walked,
            problems=sum(self._result.trouble_counts.values()),
        )
