"""`repo dump` and `repo cat`: content of a snapshot on standard output, and nothing else there.

What was written before something damaged is met has left already: the exit code says that it is not all. An archive
that ends early has no end mark, so that whoever unpacks it sees it, too.
"""

import argparse
import os
import stat as stat_bits
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager

from cli.exit_codes import ExitCode, exit_code_of
from cli.output import shown
from cli.repo_pins import say_unpinned
from cli.repo_session import opened
from cli.repo_snapshots import certainty_of
from cli.snapshot_content import pieces_of
from cli.snapshot_tree import Found, SnapshotTree
from cli.streams import is_heard
from repository.errors import RepositoryError, SnapshotNotFound
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.restore.writing import LinkKey, link_key
from repository.retention.pins import pinned
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry, Flag, decode_xattrs


def dump(arguments: argparse.Namespace) -> int:
    """One file as it is, or a folder (without a path: all) as a tar archive."""
    with _reading(arguments, "dump") as content:
        path, entry = content.at(arguments.path or "")
        if entry.is_directory:
            content.write_archive(path, entry)
        else:
            content.write_file(path, entry)
        return content.exit_code()


def cat(arguments: argparse.Namespace) -> int:
    """Files, one after the other."""
    with _reading(arguments, "cat") as content:
        files = [content.at(path) for path in arguments.paths]
        for path, entry in files:
            content.write_file(path, entry)
        return content.exit_code()


@contextmanager
def _reading(arguments: argparse.Namespace, what: str) -> Iterator["_Content"]:
    """The content of the snapshot, which is held meanwhile."""
    with opened(arguments, only_reads=True) as repository:
        snapshot = repository.find_snapshot(arguments.snapshot)
        certainty = certainty_of(repository, {arguments.snapshot: snapshot})
        with pinned(repository, what, [snapshot.id]) as pinning:
            content = _Content(repository, snapshot, certainty)
            try:
                yield content
            except RepositoryError:
                pinning.look_again()
                say_unpinned(pinning.words())
                raise
            if content.is_damaged:
                pinning.look_again()
            say_unpinned(pinning.words())


class _Content:
    """A snapshot whose content is written to standard output."""

    def __init__(self, repository: Repository, snapshot: Snapshot, certainty: ExitCode) -> None:
        self._snapshot = snapshot
        self._certainty = certainty
        self._reader = ChunkReader(_tiers(repository, snapshot), repository.keys)
        self._tree = SnapshotTree(self._reader, snapshot, self._damaged)
        self._damage: RepositoryError | None = None
        self._is_less = False
        self._links: dict[LinkKey, str] = {}

    @property
    def is_damaged(self) -> bool:
        """Whether something was not to be read."""
        return self._damage is not None

    def _damaged(self, path: bytes, error: RepositoryError) -> None:
        print(f"{shown(path) or '.'}: {error} [{error.code}]", file=sys.stderr)
        self._damage = self._damage or error

    def at(self, text: str) -> tuple[bytes, Entry]:
        """Raises `SnapshotNotFound`, or why the folders on the way cannot be read."""
        path = os.fsencode(text).strip(b"/")
        entry = self._tree.at(path)
        if self._damage is not None and entry is None:
            raise self._damage
        if entry is None:
            raise SnapshotNotFound(
                "the snapshot has nothing at this path",
                hint="List its root with `repo ls`.",
                snapshot=self._snapshot.id[:12],
                path=shown(path),
            )
        return path, entry

    def exit_code(self) -> ExitCode:
        """What was met on the way."""
        if self._damage is not None:
            return exit_code_of(self._damage)
        return ExitCode.INCOMPLETE if self._is_less else self._certainty

    def write_file(self, path: bytes, entry: Entry) -> None:
        """The bytes of one file. Raises what keeps them from being read."""
        if not entry.is_file:
            raise SnapshotNotFound(
                "this is no file", hint="`repo dump` gives a folder as an archive.", path=shown(path)
            )
        if self._is_without_content(path, entry):
            return
        for piece in pieces_of(entry, self._reader):
            if not _written(piece):
                return

    def _is_without_content(self, path: bytes, entry: Entry) -> bool:
        is_without = bool(entry.extra.flags & Flag.UNREADABLE) or entry.content is None
        if is_without:
            print(f"{shown(path) or '.'}: could not be read when the snapshot was made", file=sys.stderr)
            self._is_less = True
        return is_without

    def write_archive(self, path: bytes, folder: Entry) -> None:
        """The folder and what is below it, with paths from it on."""
        for found in self._all_below(path, folder):
            if self._damage is not None or not _written(self._header_of(found)):
                return
            if found.entry.is_file and not self._is_linked(found) and not self._write_padded(found.entry):
                return
        if self._damage is None:  # else without an end mark
            _written(bytes(2 * tarfile.BLOCKSIZE))

    def _all_below(self, path: bytes, folder: Entry) -> Iterator[Found]:
        for found in self._tree.walk(folder, b""):
            entry, shown_path = found.entry, path + b"/" + found.path if path else found.path
            if stat_bits.S_ISSOCK(entry.stat.mode):
                print(f"{shown(shown_path)}: a socket, which no archive holds", file=sys.stderr)
            elif not entry.is_file or not self._is_without_content(shown_path, entry):
                yield found

    def _write_padded(self, entry: Entry) -> bool:
        size = 0
        for piece in pieces_of(entry, self._reader):
            size += len(piece)
            if not _written(piece):
                return False
        return _written(bytes(-size % tarfile.BLOCKSIZE))

    def _is_linked(self, found: Found) -> bool:
        """Whether it is another name of a file that is in the archive already."""
        return self._links.get(link_key(found.entry), _name(found.path)) != _name(found.path)

    def _header_of(self, found: Found) -> bytes:
        entry, stat = found.entry, found.entry.stat
        info = tarfile.TarInfo(_name(found.path))
        info.mode, info.uid, info.gid = stat_bits.S_IMODE(stat.mode), stat.uid, stat.gid
        info.mtime = stat.mtime_ns // 10**9
        seconds, rest = divmod(stat.mtime_ns, 10**9)
        more = {f"SCHILY.xattr.{_name(name)}": _name(value) for name, value in self._xattrs(entry)}
        if rest and seconds >= 0:
            more["mtime"] = f"{seconds}.{rest:09}"
        info.pax_headers = more
        kind = stat_bits.S_IFMT(stat.mode)
        info.type = _TYPES.get(kind, tarfile.REGTYPE)
        if entry.is_symlink:
            info.linkname = _name(entry.extra.target)
        elif kind in (stat_bits.S_IFCHR, stat_bits.S_IFBLK):
            info.devmajor, info.devminor = entry.extra.device
        elif entry.is_file:
            if stat.links > 1:
                info.linkname = self._links.setdefault(link_key(entry), info.name)
            if info.linkname not in ("", info.name):
                info.type = tarfile.LNKTYPE
            else:
                info.linkname, info.size = "", stat.size
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def _xattrs(self, entry: Entry) -> tuple[tuple[bytes, bytes], ...]:
        kept = entry.extra.xattrs_chunk
        return decode_xattrs(self._reader.chunk(kept)) if kept else entry.extra.xattrs


_TYPES = {
    stat_bits.S_IFDIR: tarfile.DIRTYPE,
    stat_bits.S_IFLNK: tarfile.SYMTYPE,
    stat_bits.S_IFIFO: tarfile.FIFOTYPE,
    stat_bits.S_IFCHR: tarfile.CHRTYPE,
    stat_bits.S_IFBLK: tarfile.BLKTYPE,
}


def _tiers(repository: Repository, snapshot: Snapshot) -> list[OpenTier]:
    tiers = nearest_first(repository.tiers_with(snapshot))
    return [*tiers, *(tier for tier in repository.readable_tiers() if tier not in tiers)]


def _name(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _written(piece: bytes) -> bool:
    """Whether somebody still takes it."""
    sys.stdout.buffer.write(piece)
    return is_heard()
