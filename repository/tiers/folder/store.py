"""A tier in a directory of a disk or a mounted share.

Each object is a file of the key's name below the root. It is written under a temporary name in the same
folder, synced, given its name in one step (link where it must not exist, rename otherwise), and the
folder is synced: after a power cut it is whole or absent. Temporary files that a crash left are no
objects, and are swept by the next writer: a writer holds a file lock on its temporary file for as long
as it lives, so one that can be locked is nobody's.

There are no object locks: whoever may write to the folder may delete from it. `lock_until` is accepted
and has no effect, and the capability says so.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from repository.errors import (
    AlreadyExists,
    ObjectMissing,
    TierUnreachable,
    Truncated,
)
from repository.ports import SYSTEM_CLOCK, SYSTEM_RANDOMNESS, Clock, Randomness
from repository.tiers.folder.disk import NO_FILE, READ_ONLY, Disk, LocalDisk, holds
from repository.tiers.folder.errors import translated
from repository.tiers.folder.in_the_way import expect_own, instead_of_object, no_files, refuse_absent, refuse_blocked
from repository.tiers.folder.nothing_kept import NothingKept
from repository.tiers.folder.sync import FolderSync, with_unsynced_above
from repository.tiers.folder.temporaries import TEMPORARY, sweep_dead
from repository.tiers.port import (
    OBJECT_LENGTH_MAX,
    Body,
    Capabilities,
    KnownCapabilities,
    ObjectInfo,
    buffers_of,
    check_length,
    checked_key,
    checked_prefix,
    is_key,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ATTEMPTS = 5


class DirectoryObjectStore(NothingKept):
    """Objects as files below `root`, an absolute path. The root is created by the first `put`."""

    def __init__(
        self,
        root: str,
        name: str = "local",
        *,
        within: str | None = None,
        disk: Disk | None = None,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
    ) -> None:
        """Touches nothing yet. `within`: a folder above the root that is never made, a disk's mount point say."""
        self._root = os.path.abspath(root)
        self._within = os.path.abspath(within) if within is not None else None
        self._name = name
        self._disk = disk or LocalDisk()
        self._clock = clock
        self._randomness = randomness
        self._folders = FolderSync(self._disk.sync_folder)
        self._durable_folders: frozenset[str] = frozenset()
        self._swept_folders: set[str] = set()
        self._root_identity: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What people call the tier."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Files can be mapped; nothing is locked, nothing overwritten is kept."""
        return KnownCapabilities(local=True)

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,  # noqa: ARG002  # see the port: a directory trusts the memory it is given
        if_absent: bool = False,
        lock_until: datetime | None = None,  # noqa: ARG002  # no locks here
        durable: bool = True,
    ) -> None:
        """Store the object; see the port. Without `durable`, syncing the folder is left to `sync`."""
        path = self._path(key)
        folder = os.path.dirname(path)
        buffers = buffers_of(body)
        with self._translated(key):
            unsynced = self._prepare(folder)
            if not if_absent:
                expect_own(self._root, path, tier=self._name)
            is_ours = self._publish(path, buffers, if_absent=if_absent)
            # Also when it was there already: whoever linked it may have died before syncing the folder.
            unsynced.add(folder)
            if durable:
                self._folders.sync(unsynced)
                self._durable_folders |= unsynced
            else:
                self._folders.owe(unsynced)
        if not is_ours:
            raise AlreadyExists("there is another object of this key", tier=self._name, key=key)

    def sync(self) -> None:
        """Sync the folders that puts without `durable` owe."""
        with self._translated(None):
            self._durable_folders |= self._folders.pay()

    def settle(self, keys: Iterable[str]) -> None:
        """Sync the folders of these objects; see the port. Their bytes were synced before they had a name."""
        folders = {os.path.dirname(self._path(key)) for key in keys}
        with self._translated(None):
            present = [folder for folder in folders if os.path.isdir(folder)]
            unsynced = set[str]().union(*(with_unsynced_above(each, self._durable_folders) for each in present))
            self._folders.sync(unsynced)
            self._durable_folders |= unsynced

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """The whole object; see the port."""
        with self._translated(key), self._opened(key) as (descriptor, size):
            check_length(size, length_max, tier=self._name, key=key)
            return self._read(key, descriptor, 0, size, size)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """A part of the object; see the port."""
        with self._translated(key), self._opened(key) as (descriptor, size):
            return self._read(key, descriptor, offset if offset >= 0 else size + offset, length, size)

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """A part of the object; see the port."""
        # Not mapped: a disk that fails under a map kills the process, under a read it is an error.
        with self._translated(key), self._opened(key) as (descriptor, size):
            filled = 0
            while filled < len(room):
                count = os.preadv(descriptor, [room[filled:]], offset + filled)
                if not count:
                    message = "the object ends before the range"
                    raise Truncated(message, tier=self._name, key=key, size=size)
                filled += count

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object; see the port. The SHA-256 is not."""
        path = self._path(key)
        with self._translated(key):
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                self._check_root()
                return None
            return ObjectInfo(key, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects of a prefix; see the port."""
        folder = checked_prefix(prefix).rpartition("/")[0]
        with self._translated(None):
            self._check_root()
            yield from self._walk(folder + "/" if folder else "", prefix, after)

    def delete(self, key: str) -> None:
        """Remove the object, and sync its folder; see the port. What is no object stays: somebody else put it there."""
        path = self._path(key)
        with self._translated(key):
            try:
                if stat.S_ISREG(os.lstat(path).st_mode):
                    self._disk.unlink(path)
            except (FileNotFoundError, NotADirectoryError):
                self._check_root()
            # Also when it was gone already: whoever removed it may have died before syncing.
            if os.path.isdir(os.path.dirname(path)):
                self._folders.sync([os.path.dirname(path)])

    def now(self) -> datetime:
        """The time by this machine's clock."""
        return _EPOCH + timedelta(microseconds=self._clock.now_ns() // 1000)

    def local_path(self, key: str) -> str | None:
        """The file's path, or None where there is none."""
        path = self._path(key)
        return path if Path(path).is_file() else None

    def blocked_by(self, key: str) -> str | None:
        """A folder, a link or a device, say, with its path; see the port."""
        with self._translated(key):
            what = instead_of_object(self._root, self._path(key))
        return f"{what[0]} at {what[1]}" if what is not None else None

    def no_objects(self, folder: str) -> Iterator[str]:
        """Pipes and links, say; see the port."""
        with self._translated(folder):
            yield from (f"{folder}/{name}" for name in no_files(self._path(folder)) if is_key(f"{folder}/{name}"))

    def sweep(self, folder: str) -> Sequence[str]:
        """The temporary files of writers; see the port."""
        path = self._path(folder)
        with self._translated(folder):
            left, is_changed = sweep_dead(self._disk, path) if os.path.isdir(path) else ([], False)
            if is_changed:
                self._folders.sync([path])
            return [f"{folder}/{name}" for name in left]

    def set_aside(self, key: str, aside: str) -> None:
        """A second name for what has the key's, be it an object or not; see the port.

        What is no object is moved there, since nothing is put over it; so is, instead, what lies in the place of a
        folder above it.
        """
        path, second = self._path(key), self._path(aside)
        folder = os.path.dirname(second)
        with self._translated(key):
            strange = instead_of_object(self._root, path)
            if strange is None and not os.path.lexists(path):
                self._check_root()
                raise ObjectMissing("no object of this key", tier=self._name, key=key)
            unsynced = self._prepare(folder) | {folder}
            place = strange[1] if strange is not None else path
            self._disk.link(place, second)
            # Where a folder was, there may be none now.
            self._durable_folders, self._swept_folders = frozenset(), set()
            self._folders.sync(unsynced)
            self._durable_folders |= unsynced
            if strange is not None:
                with suppress(FileNotFoundError):  # a link may have been a move
                    self._disk.unlink(place)
                self._folders.sync([os.path.dirname(place)])

    def close(self) -> None:
        """Sync what is owed."""
        self.sync()

    def _path(self, key: str) -> str:
        return os.path.join(self._root, *checked_key(key).split("/"))

    # Writing

    def _prepare(self, folder: str) -> set[str]:
        """Create the folder where it is missing; the folders that must be synced before it is durable."""
        if folder in self._durable_folders and folder in self._swept_folders:
            return set()
        if self._root_identity is None:
            refuse_absent(self._within, tier=self._name)
            self._make_folders(self._root, "/")
        self._check_root()
        refuse_blocked(self._root, folder, tier=self._name)
        self._make_folders(folder, self._root)
        if folder not in self._swept_folders:
            sweep_dead(self._disk, folder)
            self._swept_folders.add(folder)
        return with_unsynced_above(folder, self._durable_folders)

    def _make_folders(self, folder: str, above: str) -> None:
        missing = []
        while folder != above and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            self._disk.make_folder(path)

    def _publish(self, path: str, buffers: Sequence[memoryview], *, if_absent: bool) -> bool:
        """Write the file and give it its name; False when another object has it and must stay."""
        for attempt in range(_ATTEMPTS):
            temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY}{self._randomness.token_bytes(12).hex()}")
            try:
                return self._write(temporary, path, buffers, if_absent=if_absent)
            except (BlockingIOError, FileNotFoundError):
                # A sweeper took the file for a dead writer's in the moment before it was locked.
                if attempt == _ATTEMPTS - 1 or not os.path.isdir(os.path.dirname(path)):
                    raise
        raise AssertionError("unreachable")

    def _write(self, temporary: str, path: str, buffers: Sequence[memoryview], *, if_absent: bool) -> bool:
        descriptor = self._disk.create(temporary)
        is_renamed = False
        try:
            self._disk.write(descriptor, buffers)
            # Before the name is given: a name on the medium whose bytes are not is a damaged object.
            self._disk.sync(descriptor)
            if if_absent:
                try:
                    self._disk.link(temporary, path)
                except FileExistsError:
                    return holds(path, buffers)
            else:
                self._disk.rename(temporary, path)
                is_renamed = True
            return True
        finally:
            if not is_renamed:
                with suppress(OSError):
                    self._disk.unlink(temporary)
            os.close(descriptor)

    # Reading

    @contextmanager
    def _opened(self, key: str) -> Iterator[tuple[int, int]]:
        """The file's descriptor and its size in bytes."""
        try:
            descriptor = os.open(self._path(key), READ_ONLY)
        except OSError as error:
            if error.errno not in NO_FILE:
                raise
            self._check_root()
            raise self._missing(key) from error
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise self._missing(key)
            yield descriptor, found.st_size
        finally:
            os.close(descriptor)

    def _missing(self, key: str) -> ObjectMissing:
        if (what := instead_of_object(self._root, self._path(key))) is not None:
            return ObjectMissing(f"{what[0]} lies where the object belongs", tier=self._name, key=key, path=what[1])
        return ObjectMissing("no object of this key", tier=self._name, key=key)

    def _read(self, key: str, descriptor: int, offset: int, length: int, size: int) -> bytes:
        if offset >= 0 and offset + length <= size:
            parts: list[bytes] = []
            while length:
                part = os.pread(descriptor, length, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                length -= len(part)
            if not length:
                return parts[0] if len(parts) == 1 else b"".join(parts)
        raise Truncated("the object ends before the range", tier=self._name, key=key, size=size)

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """The objects below a folder (a key's beginning that is empty or ends in a slash), sorted by key."""
        try:
            with os.scandir(os.path.join(self._root, folder)) as entries:
                found = [
                    (entry.name + "/", None) if entry.is_dir(follow_symlinks=False) else (entry.name, entry)
                    for entry in entries
                    if not entry.name.startswith(".")
                    and (folder + entry.name > after or after.startswith(folder + entry.name))
                ]
        except (FileNotFoundError, NotADirectoryError):
            self._check_root()
            return
        # Folders sort with their slash: "a.b" comes before "a/b".
        for name, entry in sorted(found, key=lambda item: item[0]):
            key = folder + name
            if entry is None:
                if (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key)):
                    yield from self._walk(key, prefix, after)
            elif key.startswith(prefix) and key > after and is_key(key) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield ObjectInfo(key, entry.stat(follow_symlinks=False).st_size)

    # Errors

    def _check_root(self) -> None:
        """Raise `TierUnreachable` when the root was there and is not, or is another one.

        A disk that was unmounted leaves an empty folder: without this every object of the tier would
        count as lost, and new ones would be written to the disk beneath.
        """
        seen = self._root_identity  # before the look: another thread may be making the folder
        try:
            found = os.stat(self._root)
        except NotADirectoryError:
            refuse_absent(self._within, tier=self._name)
            raise TierUnreachable("what lies above the tier's folder is no folder", tier=self._name) from None
        except FileNotFoundError:
            refuse_absent(self._within, tier=self._name)
            if seen is None:
                return
            raise TierUnreachable("the tier's folder is gone", tier=self._name) from None
        if seen is None:
            self._root_identity = (found.st_dev, found.st_ino)
        elif seen != (found.st_dev, found.st_ino):
            raise TierUnreachable("the tier's folder is another one than before", tier=self._name)

    @contextmanager
    def _translated(self, key: str | None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translated(error, tier=self._name, root=self._root, key=key) from error
