"""Compares a folder with the snapshot that it was restored from, and writes nothing.

Promise: what is returned as the same was looked at in the folder itself: which names each folder has, of what kind they
are, their attributes, and every byte, by the ids of its chunks; of a sparse file that its holes hold zeros. It shares
nothing with the writing of a restore but the reading of the snapshot: what that has overlooked, or what somebody has
changed since, is found here. Not looked at: whether names of one file are names of one file.
"""

import os
import stat as stat_bits
from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from repository.errors import RepositoryError, RestoreCancelled
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.restore.bytes import places_of
from repository.restore.contents import has_holes
from repository.restore.file_attributes import missing_attributes
from repository.restore.options import Trouble, trouble_of
from repository.restore.path_filter import PathFilter
from repository.restore.snapshot_walk import SnapshotWalk, Step, root_entry
from repository.retention.pins import pinned, reading_tiers
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Flag, content_ids, decode_extents, decode_xattrs

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Difference(StrEnum):
    """How a folder is another than its snapshot. What is wrong with attributes, or with a tier, is a `Trouble`."""

    MISSING = "missing"
    ADDED = "added"  # a name that the snapshot does not have
    KIND = "kind"  # a folder in place of a file, say, or a link to elsewhere
    BYTES = "bytes"


class Compared(NamedTuple):
    """What was looked at, and what differs by kind and number."""

    files: int
    bytes: int
    differences: Counter[Difference | Trouble]


def compare(
    repository: Repository, snapshot: Snapshot, folder: bytes, *, is_cancelled: Callable[[], bool] | None = None
) -> Compared:
    """Compare `folder` with the whole of `snapshot`. Raises `RestoreCancelled`, `OSError` and as `restore` does."""
    with pinned(repository, "compare", [snapshot.id]):
        tiers = nearest_first(reading_tiers(repository, snapshot))
        return _Comparison(repository, snapshot, ChunkReader(tiers, repository.keys), folder, is_cancelled).run()


class _Comparison:
    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        reader: ChunkReader,
        folder: bytes,
        is_cancelled: Callable[[], bool] | None,
    ) -> None:
        self._snapshot = snapshot
        self._reader = reader
        self._keys = repository.keys.of_domain(bytes.fromhex(snapshot.manifest.domain))
        self._folder = folder
        self._is_cancelled = is_cancelled
        self._found: Counter[Difference | Trouble] = Counter()
        self._names: list[set[bytes]] = [set()]
        self._files = self._bytes = 0

    def run(self) -> Compared:
        root = root_entry(self._snapshot, self._reader.chunk)
        walk = SnapshotWalk(
            self._reader.chunk,
            PathFilter(),
            lambda _path, error: self._note(trouble_of(error)),
            lambda _path: self._note(Trouble.HOSTILE_NAME),
        )
        for step in walk.steps(root):
            self._check()
            if step.is_leaving:
                self._leave(step)
            elif not self._enters(step):
                walk.skip()
        if not root.extra.flags & Flag.NOT_ENTERED:
            self._attributes(self._folder, root)
        return Compared(self._files, self._bytes, self._found)

    def _check(self) -> None:
        if self._is_cancelled is not None and self._is_cancelled():
            raise RestoreCancelled("the comparison was cancelled")

    def _note(self, what: Difference | Trouble) -> None:
        self._found[what] += 1

    def _leave(self, step: Step) -> None:
        """Of a folder that is done: whether it has names of its own."""
        names = self._names.pop()
        try:
            self._found[Difference.ADDED] += len(set(os.listdir(self._at(step.path))) - names)
        except PermissionError:
            self._note(Trouble.UNREADABLE)

    def _enters(self, step: Step) -> bool:
        """Look at an entry; of a folder whether what is below it can be looked at."""
        entry, at = step.entry, self._at(step.path)
        if entry.extra.flags & Flag.UNREADABLE and not entry.is_directory:
            return True  # it was not saved, as the snapshot says
        self._names[-1].add(entry.name)
        try:
            found = os.lstat(at)
        except FileNotFoundError:
            self._note(Difference.MISSING)
            return False
        is_link = entry.is_symlink and stat_bits.S_ISLNK(found.st_mode)
        if stat_bits.S_IFMT(found.st_mode) != stat_bits.S_IFMT(entry.stat.mode) or (
            is_link and os.readlink(at) != entry.extra.target  # noqa: PTH115  # a path here is bytes
        ):
            self._note(Difference.KIND)
            return False
        self._attributes(at, entry)
        if entry.is_file:
            self._files += 1
            self._content(at, entry)
        elif entry.is_directory:
            self._names.append(set())
        return True

    def _attributes(self, at: bytes, entry: Entry) -> None:
        try:
            chunk = entry.extra.xattrs_chunk
            xattrs = decode_xattrs(self._reader.chunk(chunk)) if chunk else entry.extra.xattrs
        except RepositoryError:
            self._note(Trouble.XATTR)
            return
        for trouble, _ in missing_attributes(at, entry.stat, xattrs):
            self._note(trouble)

    def _content(self, at: bytes, entry: Entry) -> None:
        try:
            fd = os.open(at, _READ)
        except PermissionError:
            self._note(Trouble.UNREADABLE)
            return
        try:
            size = os.fstat(fd).st_size
            extents = decode_extents(entry.extra.extents, entry.stat.size) if entry.extra.flags & Flag.SPARSE else None
            is_same = size == entry.stat.size and has_holes(fd, size, extents) and self._is_read(fd, entry, extents)
        except RepositoryError as error:
            self._note(trouble_of(error))
        else:
            if not is_same:
                self._note(Difference.BYTES)
        finally:
            os.close(fd)

    def _is_read(self, fd: int, entry: Entry, extents: Sequence[tuple[int, int]] | None) -> bool:
        position = 0
        for chunk_id in content_ids(entry.content or b"", entry.extra.depth, self._reader.chunk):
            length = self._reader.locate(chunk_id).chunk_length
            places = places_of(position, length, None if extents is None else list(extents))
            body = b"".join(os.pread(fd, count, offset) for offset, count in places)
            if self._keys.chunk_id(body) != chunk_id:
                return False
            self._check()
            position += length
            self._bytes += length
        return position == (entry.stat.size if extents is None else sum(length for _, length in extents))

    def _at(self, path: bytes) -> bytes:
        return os.path.join(self._folder, path) if path else self._folder
