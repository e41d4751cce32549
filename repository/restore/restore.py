"""Restores a snapshot, or part of it, below a folder.

Promise: every byte that is written was authenticated and hashed to its id; nothing outside the target is ever
touched; when `restore` returns, what it reports as restored is durable. A tier that cannot give a chunk is passed
over for the next one. The same call after an interruption goes on with what is there.
"""

import errno
import os
import threading
import time
from collections.abc import Sequence

from repository.errors import (
    NoUsableTier,
    RepositoryError,
    RestoreCancelled,
    SnapshotNotFound,
    TargetFailed,
    TooFewDescriptors,
)
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.progress import Progress, Ticker
from repository.restore.contents import RestoreContents
from repository.restore.files import TargetFiles
from repository.restore.folders import Folders
from repository.restore.options import Conflict, RestoreOptions, RestoreResult, RestoreTrouble, Trouble, trouble_of
from repository.restore.path_filter import PathFilter
from repository.restore.reading import SpanReaders
from repository.restore.snapshot_walk import SnapshotWalk, root_entry
from repository.restore.target import RestoreTarget
from repository.restore.unmatched import unmatched
from repository.restore.writing import RestoreWriting
from repository.retention.pins import pinned, reading_tiers
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry
from repository.tiers.folder.disk import OUT_OF_DESCRIPTORS

__all__ = ["Conflict", "RestoreOptions", "RestoreResult", "RestoreTrouble", "Trouble", "restore"]

TROUBLES_KEPT_MAX = 10_000


def restore(
    repository: Repository, snapshot: Snapshot, target: str | bytes, *, options: RestoreOptions | None = None
) -> RestoreResult:
    """Restore `snapshot` below the folder `target`, which is made where it is absent.

    What concerns single entries is in the result's `troubles`, and the rest was restored. Raises
    `RestoreRefused` (the target is in use; nothing was touched), `TargetFailed`, `RestoreCancelled`,
    `SnapshotNotFound` (it was forgotten just now), `NoUsableTier`, and
    `Damaged` or a tier's error when not even the snapshot's root can be read.
    """
    options = options or RestoreOptions()
    with pinned(repository, "restore", [snapshot.id], only=options.tiers) as pinning:
        result = _Restore(repository, snapshot, os.fsencode(target), options).run()
        if not result.is_whole:
            pinning.look_again()
        result.unpinned = pinning.words()
    return result


class _Restore:
    """The parts of one restore, wired together."""

    def __init__(self, repository: Repository, snapshot: Snapshot, target: bytes, options: RestoreOptions) -> None:
        self._options = options
        self._result = RestoreResult()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._snapshot = snapshot
        self._target_path = target
        tiers = tiers_to_read(repository, snapshot, options.tiers)
        self._reader = _Chunks(tiers, repository.keys)
        self._tiers = tiers
        self._ring = repository.keys
        self._keys = repository.keys.of_domain(bytes.fromhex(snapshot.manifest.domain))

    def run(self) -> RestoreResult:
        """Everything, in order."""
        try:
            root = root_entry(self._snapshot, self._reader.chunk)
            target = RestoreTarget(self._target_path, self._snapshot, self._options.conflict)
            try:
                self._fill(target, root)
            finally:
                os.close(target.fd)
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                raise TooFewDescriptors("the system gives no more open files") from error
            raise TargetFailed("target cannot be written", reason=os.strerror(error.errno or 0)) from error
        self._result.seconds = time.monotonic() - self._started
        return self._result

    def _fill(self, target: RestoreTarget, root: Entry) -> None:
        folders = Folders(target.fd, root, in_place=target.is_in_place)
        options = self._options
        files = TargetFiles(
            folders,
            conflict=options.conflict,
            suffix=self._snapshot.id[:8].encode(),
            sparse=options.sparse,
            on_trouble=self._trouble,
            clears_incomplete=target.is_resumed and target.is_in_place,
        )
        readers = SpanReaders(
            self._tiers, self._reader, self._ring, files, self._trouble, self._check, workers=options.workers
        )
        contents = RestoreContents(
            folders,
            files,
            readers,
            self._reader,
            self._keys,
            self._trouble,
            verify=options.verify,
        )
        writing = RestoreWriting(
            folders, files, contents, self._reader, target, options.conflict, self._trouble, self._result
        )
        wanted = PathFilter(self._options.globs)
        walk = SnapshotWalk(
            self._reader.chunk,
            wanted,
            lambda path, error: self._trouble(path, trouble_of(error), str(error)),
            lambda path: self._trouble(path, Trouble.HOSTILE_NAME, ""),
        )
        ticker = Ticker(self._options.on_progress, lambda: self._progress(writing, files))
        try:
            ticker.start()
            for step in walk.steps(root):
                self._check()
                writing.take(step, walk)
            self._result.unmatched = unmatched(options.globs, root, self._reader.chunk, self._check)
            writing.drain()
            self._check()  # What was written last took its time: by now it may be somebody else's to finish.
            # The marker goes when all else is durable: a power cut before that leaves a restore to go on with. So does
            # an entry that could not be restored: once a tier is back, say, the same restore goes on.
            target.make_durable()
            target.require_in_its_place()
            if self._result.is_whole:
                target.remove_marker()
            writing.finish_root(root, wanted.match(b""))
            os.fsync(target.fd)
        finally:
            readers.close()
            files.close()
            folders.close()
            ticker.stop()
        result = self._result
        result.files += files.files_done
        result.bytes = files.bytes_done
        result.resumed_files += contents.resumed_files
        result.renamed += files.renamed
        result.bytes_by_tier = readers.bytes_by_tier
        result.chunks_from_other_tiers = readers.chunks_from_others

    def _check(self) -> None:
        if self._options.is_cancelled is not None and self._options.is_cancelled():
            raise RestoreCancelled("restore was cancelled")

    def _trouble(self, path: bytes, trouble: Trouble, detail: str) -> None:
        counts = self._result.trouble_counts
        found = RestoreTrouble(path, trouble, detail)
        with self._lock:
            counts[trouble] = counts.get(trouble, 0) + 1
            if len(self._result.troubles) < TROUBLES_KEPT_MAX:
                self._result.troubles.append(found)
        if self._options.on_trouble is not None:
            self._options.on_trouble(found)

    def _progress(self, writing: RestoreWriting, files: TargetFiles) -> Progress:
        return Progress(
            files_found=writing.files_found,
            files_done=files.files_done,
            bytes_found=writing.bytes_found,
            bytes_done=files.bytes_done,
            is_walk_complete=writing.is_complete,
            problems=sum(self._result.trouble_counts.values()),
        )


class _Chunks(ChunkReader):
    """Chunks for a restore: too few descriptors end it, and are no damage of whatever was to be read."""

    def chunk(self, chunk_id: bytes) -> bytes:
        """See `ChunkReader.chunk`. Raises `OSError` too."""
        try:
            return super().chunk(chunk_id)
        except TooFewDescriptors as error:
            raise OSError(errno.EMFILE, error.message) from error


def tiers_to_read(repository: Repository, snapshot: Snapshot, names: Sequence[str]) -> list[OpenTier]:
    """The tiers to read from, best first: of these names, where some are given.

    Raises `SnapshotNotFound` (none of these has the snapshot, and others have) and `NoUsableTier`.
    """
    tiers = reading_tiers(repository, snapshot)
    if names:
        by_name = {tier.name: tier for tier in tiers}
        asked = [by_name[name] for name in names if name in by_name]
        if not asked and tiers and any(tier.name in names and tier.is_readable for tier in repository.tiers):
            others = ", ".join(by_name)
            hint = f"Leave out the name of the tier to read from, or take one of these: {others}."
            raise SnapshotNotFound(
                "the tier that is to be read from does not have the snapshot", hint=hint, have=others
            )
        return asked or _nothing(repository)
    nearest = nearest_first(tiers)
    if not nearest:
        return _nothing(repository)
    remote = [tier for tier in nearest if not tier.store.capabilities.local]
    if len(remote) == len(nearest) > 1:
        nearest.sort(key=lambda tier: (not tier.is_ready, _seconds_to_answer(tier)))
    return nearest


def _nothing(repository: Repository) -> list[OpenTier]:
    raise NoUsableTier("no tier that can be read has the snapshot", tiers=repository.states())


def _seconds_to_answer(tier: OpenTier) -> float:
    started = time.monotonic()
    try:
        tier.store.head("config")
    except RepositoryError:
        return float("inf")
    return time.monotonic() - started
