"""A snapshot's tree as a person looks at it: list, find, compare. Reads pages only, never a file's content.

A page that no tier can give is reported through `on_damage` and left out; what is beside it is still shown.
"""

import stat as stat_bits
from collections.abc import Callable, Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.opened.pack_access import ChunkReader
from repository.restore.path_filter import Match, PathFilter
from repository.stored.snapshot import Snapshot
from repository.stored.tree import ROOT_NAME, Entry, Page, content_ids, decode_page

OnDamage = Callable[[bytes, RepositoryError], None]
"""Takes the path of a directory and what is wrong with a page of it."""


class Found(NamedTuple):
    """An entry and its path below the source's root; the root's own path is empty."""

    path: bytes
    entry: Entry


class ChangeKind(StrEnum):
    """How an entry differs from one snapshot to another."""

    ADDED = "added"
    REMOVED = "removed"
    CONTENT = "content"  # other bytes, or another kind of entry
    METADATA = "metadata"  # the same bytes; mode, owner, times or attributes differ


class Change(NamedTuple):
    """One difference. `before` is None for what was added, `after` for what was removed."""

    kind: ChangeKind
    path: bytes
    before: Entry | None
    after: Entry | None


class SnapshotTree:
    """One snapshot's tree over whatever tiers have its pages."""

    def __init__(self, reader: ChunkReader, snapshot: Snapshot, on_damage: OnDamage) -> None:
        self._reader = reader
        self._snapshot = snapshot
        self._on_damage = on_damage

    def root(self) -> Entry:
        """The source's root. Raises `Damaged`, or why no tier can give its page."""
        for page_id in self._snapshot.manifest.root:
            for entry in decode_page(self._reader.chunk(bytes.fromhex(page_id))).entries():
                if entry.name == ROOT_NAME:
                    return entry
        raise Damaged("the snapshot's root page names no root", snapshot=self._snapshot.id)

    def below(self, directory: Entry, path: bytes) -> Iterator[Entry]:
        """The entries of a directory in the order of their names."""
        for page in self._pages(directory, path):
            yield from page.entries()

    def at(self, path: bytes) -> Entry | None:
        """The entry at a path below the root (slashes at either end do not count), or None."""
        entry = self.root()
        walked = b""
        for name in filter(None, path.split(b"/")):
            if not entry.is_directory:
                return None
            found = None
            for page in self._pages(entry, walked):
                if name in page.names:
                    found = next(each for each in page.entries() if each.name == name)
                    break
            if found is None:
                return None
            entry, walked = found, joined(walked, name)
        return entry

    def walk(self, directory: Entry, path: bytes) -> Iterator[Found]:
        """Everything below a directory, parents first, without recursion: trees may be deep."""
        open_directories = [(path, self.below(directory, path))]
        while open_directories:
            above, entries = open_directories[-1]
            entry = next(entries, None)
            if entry is None:
                open_directories.pop()
                continue
            found = Found(joined(above, entry.name), entry)
            yield found
            if entry.is_directory:
                open_directories.append((found.path, self.below(entry, found.path)))

    def find(self, glob: bytes) -> Iterator[Found]:
        """Entries whose name matches, or whose path does where the glob has a slash in it (`path_filter`)."""
        names_only = b"/" not in glob.rstrip(b"/")
        wanted, by_path = glob.rstrip(b"/"), PathFilter((glob,))
        for found in self.walk(self.root(), b""):
            if names_only:
                is_match = fnmatchcase(found.entry.name, wanted)
            else:
                # A restore wants what lies below a match too; a search shows the match alone.
                above = found.path.rpartition(b"/")[0]
                is_match = by_path.match(found.path) is Match.WANTED and by_path.match(above) is not Match.WANTED
            if is_match:
                yield found

    def _pages(self, directory: Entry, path: bytes) -> Iterator[Page]:
        if not directory.content:
            return
        try:
            for page_id in content_ids(directory.content, directory.extra.depth, self._reader.chunk):
                try:
                    page = decode_page(self._reader.chunk(page_id))
                except RepositoryError as error:
                    self._on_damage(path, error)
                else:
                    yield page
        except RepositoryError as error:
            # A list of page ids is gone: what comes after it in this directory cannot be found.
            self._on_damage(path, error)


class _Both(NamedTuple):
    """An entry that both trees have, still to be compared."""

    path: bytes
    before: Entry
    after: Entry


def differences(before: SnapshotTree, after: SnapshotTree) -> Iterator[Change]:
    """What differs, parents first, in the order of the names. Subtrees that both share are not even read."""
    at_work: list[Iterator[Change | _Both]] = [iter((_Both(b"", before.root(), after.root()),))]
    while at_work:
        step = next(at_work[-1], None)
        if step is None:
            at_work.pop()
        elif isinstance(step, _Both):
            at_work.append(_compared(before, after, step))
        else:
            yield step


def _compared(before: SnapshotTree, after: SnapshotTree, both: _Both) -> Iterator[Change | _Both]:
    path, old, new = both
    kind = _difference(old, new)
    if kind is not None:
        yield Change(kind, path, old, new)
    if not (old.is_directory and new.is_directory):
        yield from _subtree(before, ChangeKind.REMOVED, path, old)
        yield from _subtree(after, ChangeKind.ADDED, path, new)
    elif (old.content, old.extra.depth) != (new.content, new.extra.depth):
        yield from _merged(before, after, both)


def _merged(before: SnapshotTree, after: SnapshotTree, both: _Both) -> Iterator[Change | _Both]:
    """The entries of two directories side by side: both sides are sorted by name."""
    path = both.path
    olds, news = before.below(both.before, path), after.below(both.after, path)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if old is not None and (new is None or old.name < new.name):
            yield Change(ChangeKind.REMOVED, joined(path, old.name), old, None)
            yield from _subtree(before, ChangeKind.REMOVED, joined(path, old.name), old)
            old = next(olds, None)
        elif new is not None and (old is None or new.name < old.name):
            yield Change(ChangeKind.ADDED, joined(path, new.name), None, new)
            yield from _subtree(after, ChangeKind.ADDED, joined(path, new.name), new)
            new = next(news, None)
        elif old is not None and new is not None:
            yield _Both(joined(path, old.name), old, new)
            old, new = next(olds, None), next(news, None)


def _subtree(tree: SnapshotTree, kind: ChangeKind, path: bytes, entry: Entry) -> Iterator[Change]:
    if entry.is_directory:
        for found in tree.walk(entry, path):
            is_added = kind is ChangeKind.ADDED
            yield Change(kind, found.path, None if is_added else found.entry, found.entry if is_added else None)


def _difference(old: Entry, new: Entry) -> ChangeKind | None:
    if stat_bits.S_IFMT(old.stat.mode) != stat_bits.S_IFMT(new.stat.mode):
        return ChangeKind.CONTENT
    if not old.is_directory and _content_of(old) != _content_of(new):
        return ChangeKind.CONTENT
    return None if _metadata_of(old) == _metadata_of(new) else ChangeKind.METADATA


def _content_of(entry: Entry) -> tuple[object, ...]:
    extra = entry.extra
    return entry.content, extra.depth, extra.extents, extra.target, extra.device


def _metadata_of(entry: Entry) -> tuple[object, ...]:
    # Not the inode, the change time and the device: they say when to read again, not what a restore gives back.
    stat, extra = entry.stat, entry.extra
    return stat.mode, stat.uid, stat.gid, stat.mtime_ns, extra.xattrs, extra.xattrs_chunk, extra.attributes


def joined(path: bytes, name: bytes) -> bytes:
    """The path of a name in a directory."""
    return path + b"/" + name if path else name
