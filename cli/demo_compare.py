"""Compares two folders, every byte and every attribute, without any code of the repository.

Compared are: which entries there are, by the bytes of their names; kind, mode, owner and group; modification
time to the nanosecond; content; targets of links; extended attributes; which names are one file; and that a
sparse file has not grown on disk.
"""

import os
import stat
from dataclasses import dataclass, field

from cli.output import shown

_BLOCK = 1024 * 1024
_MAX_DIFFERENCES = 100
# What the system itself puts on files, and does not let everybody copy.
_OWN_ATTRIBUTES = ("user.", "system.posix_acl_")
# A file system may round its blocks differently, so a small growth is none.
_SPARSE_SLACK = 1024 * 1024


@dataclass
class Comparison:
    """What was compared, and what differs: a path (printable) and what about it."""

    files: int = 0
    folders: int = 0
    links: int = 0
    hard_links: int = 0
    attributes: int = 0
    sparse_files: int = 0
    content_bytes: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def differs(self, path: bytes, what: str) -> None:
        """Note a difference; after many of them the rest is not told."""
        if len(self.differences) < _MAX_DIFFERENCES:
            self.differences.append(f"{shown(path)}: {what}")


def compare_folders(expected: bytes, actual: bytes) -> Comparison:
    """Compare two folders and everything below. Raises OSError where one cannot be read."""
    comparison = Comparison()
    inodes: dict[tuple[int, int], bytes] = {}
    twins: dict[tuple[int, int], bytes] = {}
    _compare_status(comparison, b".", os.lstat(expected), os.lstat(actual))
    _compare_attributes(comparison, b".", expected, actual)
    open_folders = [b""]
    while open_folders:
        folder = open_folders.pop()
        names = _names(os.path.join(expected, folder), os.path.join(actual, folder), folder, comparison)
        for name in names:
            path = os.path.join(folder, name)
            here, there = os.path.join(expected, path), os.path.join(actual, path)
            one, other = os.lstat(here), os.lstat(there)
            if not _compare_status(comparison, path, one, other):
                continue
            _compare_attributes(comparison, path, here, there)
            _compare_hard_links(comparison, path, one, other, inodes, twins)
            if stat.S_ISDIR(one.st_mode):
                comparison.folders += 1
                open_folders.append(path)
            elif stat.S_ISLNK(one.st_mode):
                comparison.links += 1
                if _target(here) != _target(there):
                    comparison.differs(path, "the link points elsewhere")
            elif stat.S_ISREG(one.st_mode):
                comparison.files += 1
                _compare_content(comparison, path, here, there, one, other)
    return comparison


def _names(expected: bytes, actual: bytes, folder: bytes, comparison: Comparison) -> list[bytes]:
    """The names that both folders have; the others are differences."""
    here, there = set(os.listdir(expected)), set(os.listdir(actual))
    for name in sorted(here - there):
        comparison.differs(os.path.join(folder, name), "is missing")
    for name in sorted(there - here):
        comparison.differs(os.path.join(folder, name), "was not there before")
    return sorted(here & there)


def _compare_status(comparison: Comparison, path: bytes, one: os.stat_result, other: os.stat_result) -> bool:
    """Kind, mode, owner and time; whether the kind is the same."""
    if stat.S_IFMT(one.st_mode) != stat.S_IFMT(other.st_mode):
        comparison.differs(path, "is of another kind")
        return False
    if one.st_mode != other.st_mode:
        comparison.differs(path, f"mode {stat.S_IMODE(one.st_mode):o} became {stat.S_IMODE(other.st_mode):o}")
    if (one.st_uid, one.st_gid) != (other.st_uid, other.st_gid):
        comparison.differs(path, f"owner {one.st_uid}:{one.st_gid} became {other.st_uid}:{other.st_gid}")
    if one.st_mtime_ns != other.st_mtime_ns:
        comparison.differs(path, f"time {one.st_mtime_ns} ns became {other.st_mtime_ns} ns")
    return True


def _target(link: bytes) -> bytes:
    return os.readlink(link)  # noqa: PTH115  # a pathlib path cannot hold these bytes


def _compare_attributes(comparison: Comparison, path: bytes, here: bytes, there: bytes) -> None:
    one, other = _attributes(here), _attributes(there)
    comparison.attributes += len(one)
    if one != other:
        names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        comparison.differs(path, f"extended attributes differ: {', '.join(names)}")


def _attributes(path: bytes) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if name.startswith(_OWN_ATTRIBUTES)}


def _compare_hard_links(
    comparison: Comparison,
    path: bytes,
    one: os.stat_result,
    other: os.stat_result,
    inodes: dict[tuple[int, int], bytes],
    twins: dict[tuple[int, int], bytes],
) -> None:
    """The names of one file are the names of one file there, too. Folders have no hard links."""
    if stat.S_ISDIR(one.st_mode):
        return
    first = inodes.setdefault((one.st_dev, one.st_ino), path)
    twin = twins.setdefault((other.st_dev, other.st_ino), path)
    if first != path:
        comparison.hard_links += 1
    if first != twin:
        comparison.differs(path, "is no longer one file with the same names")


def _compare_content(
    comparison: Comparison, path: bytes, here: bytes, there: bytes, one: os.stat_result, other: os.stat_result
) -> None:
    if one.st_size != other.st_size:
        comparison.differs(path, f"size {one.st_size} became {other.st_size}")
        return
    comparison.content_bytes += one.st_size
    if one.st_blocks * 512 + _SPARSE_SLACK < one.st_size:
        comparison.sparse_files += 1
        if other.st_blocks > one.st_blocks + _SPARSE_SLACK // 512:
            comparison.differs(path, "its holes were filled")
    offset = 0
    with open(here, "rb", buffering=0) as left, open(there, "rb", buffering=0) as right:
        while block := left.read(_BLOCK):
            if right.read(len(block)) != block:
                comparison.differs(path, f"content differs in the MiB at byte {offset}")
                return
            offset += len(block)
