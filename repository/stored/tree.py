"""The tree of a snapshot: pages of directory entries, and lists of chunk ids too long for an entry.

Promise: what `encode_page` writes, `decode_page` reads back equal; anything malformed raises `Damaged`.
A page is a chunk of a tree pack; so is a list. Pages hold columns, not rows: they compress better, and a
page in which nothing changed is recognised by comparing nine byte strings.

A page is a MessagePack array:

    0 version: 1
    1 names: array of bin, strictly ascending
    2 stat: array of nine bin, each n × i64 little endian, in the order of `Stat`
    3 contents: array of bin or nil. Concatenated 32-byte ids: of a file, its chunks; of a directory, its
      pages. nil where there is no content (symlinks, devices, files that could not be read)
    4 extras: map from the entry's number to a map, for what few entries have (see `Extra`)

A content of more than `INLINE_IDS_MAX` ids is itself cut into lists of at most `LIST_IDS_MAX` ids, which
are stored as chunks; the entry then holds the ids of the lists, and `Extra.depth` counts the levels.
"""

import stat as stat_bits
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from operator import lt
from typing import Final, NamedTuple, TypeAlias

import msgspec

from repository.errors import Damaged, LimitExceeded
from repository.format import CHUNK_LENGTH_MAX, ID_LENGTH

PAGE_VERSION: Final = 1
INLINE_IDS_MAX: Final = 64
"""Ids in an entry, at most; 64 MiB of a file at the usual chunk length."""
LIST_IDS_MAX: Final = 4096
"""Ids in a list chunk, at most: 128 KiB."""
INLINE_XATTRS_MAX: Final = 4 << 10
"""Bytes of encoded extended attributes in an entry, at most; more go into a chunk of their own."""
EXTENTS_MAX: Final = 256
"""Extents of a sparse file, at most: sources keep small holes as zeros rather than have more."""
PAGE_ENTRIES_MAX: Final = 1024
"""Entries in a page, at most, so that a page of the largest entries still is a chunk."""
ROOT_NAME: Final = b""
"""The name of the only entry of a snapshot's root page: the source itself."""

_COLUMNS: Final = 9
_INT64_MASK: Final = (1 << 63) - 1


class Stat(NamedTuple):
    """What the file system says of an entry; equal ones mean: not touched since.

    `mtime_ns` and `ctime_ns` in nanoseconds since 1970. `device` is a small number, 0 for the device of the source's
    root. A directory has size 0 and one link. `ctime_ns` is 0 where the entry must be read again next time.
    """

    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    links: int
    device: int


Row: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""A `Stat` as the hot path handles it: a plain tuple in the same order."""


class Flag(IntFlag):
    """What happened to an entry while it was saved."""

    CHANGED = 1  # was written to while it was read: what is kept may be a mixture
    UNREADABLE = 2  # could not be read: there is no content
    NOT_ENTERED = 4  # a directory whose entries were left out on purpose (loop, other file system)
    SPARSE = 8  # has holes: `extents` says what is not a hole (nothing, when all of it is one)


class Extra(msgspec.Struct, omit_defaults=True, rename={"target": "t", "xattrs": "x"}, frozen=True, gc=False):
    """What few entries have. Absent fields are left out of the encoding.

    `depth`: levels of lists between the entry and its ids. `extents`: of a sparse file, the offsets and
    lengths of what is not a hole, as i64 pairs; its content is their concatenation. `target`: of a
    symlink. `device`: major and minor number. `xattrs`: name and value pairs, sorted; `xattrs_chunk`:
    id of the chunk that holds them when they are many. `attributes`: of an object of a bucket, its content type and
    user metadata. `identity`: what the source recognises a version by (an ETag), beside the `Stat`.
    """

    depth: int = 0
    extents: bytes = b""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    xattrs_chunk: bytes = b""
    attributes: dict[str, str] = {}
    identity: bytes = b""
    flags: int = 0


NO_EXTRA: Final = Extra()


class Entry(NamedTuple):
    """One entry of a directory."""

    name: bytes
    stat: Stat
    content: bytes | None
    extra: Extra

    @property
    def is_directory(self) -> bool:
        """Whether the content is pages."""
        return stat_bits.S_ISDIR(self.stat.mode)

    @property
    def is_file(self) -> bool:
        """Whether the content is bytes of a file (or of a bucket's object)."""
        return stat_bits.S_ISREG(self.stat.mode)

    @property
    def is_symlink(self) -> bool:
        """Whether the extra holds a target."""
        return stat_bits.S_ISLNK(self.stat.mode)


class Page(NamedTuple):
    """A decoded page, still in columns. All lists have the same length."""

    names: list[bytes]
    columns: list[bytes]
    contents: list[bytes | None]
    extras: dict[int, Extra]

    def rows(self) -> list[Row]:
        """The stat columns as rows."""
        return rows_of(self.columns)

    def entries(self) -> Iterator[Entry]:
        """The entries in the order of their names."""
        extras = self.extras
        for number, (name, row, content) in enumerate(zip(self.names, self.rows(), self.contents, strict=True)):
            yield Entry(name, Stat._make(row), content, extras.get(number, NO_EXTRA))


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(tuple[int, list[bytes], list[bytes], list[bytes | None], dict[int, Extra]])
_xattrs_decoder = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...])


def columns_of(rows: list[Row]) -> list[bytes]:
    """The rows as nine columns of i64. A number beyond 63 bits (an inode may be) is folded, in `rows` too."""
    if not rows:
        return [b""] * _COLUMNS
    try:
        arrays = [array("q", column) for column in zip(*rows, strict=True)]
    except OverflowError:
        rows[:] = [_folded(row) for row in rows]
        return columns_of(rows)
    if sys.byteorder != "little":
        for numbers in arrays:
            numbers.byteswap()
    return [numbers.tobytes() for numbers in arrays]


def _folded(row: Row) -> Row:
    mode, uid, gid, size, mtime_ns, ctime_ns, inode, links, device = row
    # Times beyond the year 2262 do not fit; the nearest one that does is kept.
    mtime_ns, ctime_ns = (max(-_INT64_MASK, min(time, _INT64_MASK)) for time in (mtime_ns, ctime_ns))
    return mode, uid, gid, size & _INT64_MASK, mtime_ns, ctime_ns, inode & _INT64_MASK, links, device


def rows_of(columns: Sequence[bytes]) -> list[Row]:
    """The rows that nine equally long columns hold."""
    arrays = []
    for column in columns:
        numbers = array("q")
        numbers.frombytes(column)
        if sys.byteorder != "little":
            numbers.byteswap()
        arrays.append(numbers)
    return list(zip(*arrays, strict=True))


def encode_page(page: Page) -> bytes:
    """The page's bytes. Names ascend strictly. Raises `LimitExceeded` when it is longer than a chunk."""
    body = _encode((PAGE_VERSION, page.names, page.columns, page.contents, page.extras))
    if len(body) > CHUNK_LENGTH_MAX:
        raise LimitExceeded("a page of the tree is longer than a chunk", length=len(body))
    return body


def decode_page(body: bytes | memoryview) -> Page:
    """Read a page. Raises `Damaged`."""
    try:
        version, names, columns, contents, extras = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Damaged("page of the tree cannot be read", reason=str(error)) from None
    count = len(names)
    if version != PAGE_VERSION:
        raise Damaged("page of the tree has an unknown version", version=version)
    if len(columns) != _COLUMNS or len(contents) != count or any(len(column) != 8 * count for column in columns):
        raise Damaged("page of the tree has columns of different lengths", entries=count)
    if count > 1 and not all(map(lt, names, names[1:])):
        raise Damaged("page of the tree has its names out of order", entries=count)
    if any(length % ID_LENGTH for length in set(map(len, filter(None, contents)))):
        raise Damaged("content is not made of ids", entries=count)
    if extras and not all(0 <= number < count for number in extras):
        raise Damaged("page of the tree describes an entry that it does not have", entries=count)
    return Page(names, columns, contents, extras)


def encode_xattrs(xattrs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Extended attributes as the bytes of a chunk."""
    return _encode(xattrs)


def decode_xattrs(body: bytes | memoryview) -> tuple[tuple[bytes, bytes], ...]:
    """Read what `encode_xattrs` wrote. Raises `Damaged`."""
    try:
        return _xattrs_decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Damaged("extended attributes cannot be read", reason=str(error)) from None


def encode_extents(extents: Sequence[tuple[int, int]]) -> bytes:
    """Offsets and lengths (bytes) of what is not a hole."""
    return columns_pair([number for extent in extents for number in extent])


def columns_pair(numbers: Sequence[int]) -> bytes:
    """Numbers as i64, little endian."""
    packed = array("q", numbers)
    if sys.byteorder != "little":
        packed.byteswap()
    return packed.tobytes()


def decode_extents(body: bytes, size: int) -> list[tuple[int, int]]:
    """Offsets and lengths of a sparse file of `size` bytes. Raises `Damaged` unless they ascend within it."""
    if len(body) % 16:
        raise Damaged("extents of a sparse file are cut off", length=len(body))
    numbers = array("q")
    numbers.frombytes(body)
    if sys.byteorder != "little":
        numbers.byteswap()
    extents = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in extents:
        if offset < end or length <= 0:
            raise Damaged("extents of a sparse file overlap", offset=offset)
        end = offset + length
    if end > size:
        raise Damaged("extents of a sparse file reach beyond its end", end=end, size=size)
    return extents


class ContentList:
    """Collects the ids of a content in order, putting full lists away, so that memory stays bounded.

    `store` keeps a list as a chunk and returns its id.
    """

    def __init__(self, store: Callable[[bytes], bytes]) -> None:
        self._store = store
        self._levels: list[bytearray] = [bytearray()]

    def extend(self, ids: bytes) -> None:
        """Add concatenated ids."""
        self._levels[0] += ids
        limit = LIST_IDS_MAX * ID_LENGTH
        level = 0
        while len(self._levels[level]) > limit:
            pending = self._levels[level]
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            while len(pending) > limit:
                self._levels[level + 1] += self._store(bytes(pending[:limit]))
                del pending[:limit]
            level += 1

    def finish(self) -> tuple[bytes, int]:
        """The ids for the entry, and how many levels of lists are below them."""
        depth = 0
        while depth + 1 < len(self._levels) or len(self._levels[depth]) > INLINE_IDS_MAX * ID_LENGTH:
            if depth + 1 == len(self._levels):
                self._levels.append(bytearray())
            pending = self._levels[depth]
            limit = LIST_IDS_MAX * ID_LENGTH
            for start in range(0, len(pending), limit):
                self._levels[depth + 1] += self._store(bytes(pending[start : start + limit]))
            depth += 1
        return bytes(self._levels[depth]), depth


def ids_of(content: bytes) -> list[bytes]:
    """Concatenated ids one by one."""
    return [content[start : start + ID_LENGTH] for start in range(0, len(content), ID_LENGTH)]


def content_ids(content: bytes, depth: int, load: Callable[[bytes], bytes | memoryview]) -> Iterator[bytes]:
    """The ids of a content, through `depth` levels of lists. `load` gives a chunk. Raises `Damaged`."""
    if depth == 0:
        yield from ids_of(content)
        return
    if depth > 4:
        raise Damaged("lists of a content are nested too deeply", depth=depth)
    for list_id in ids_of(content):
        ids = bytes(load(list_id))
        if not ids or len(ids) % ID_LENGTH:
            raise Damaged("list of a content is not made of ids", length=len(ids))
        yield from content_ids(ids, depth - 1, load)


def page_boundaries(names: Sequence[bytes]) -> list[int]:
    """Where a directory's sorted names are cut into pages: the ends, the last one included.

    A cut depends on the name before it (and on the distance from the last cut), so that a new entry
    changes one page and leaves the others as they are.
    """
    count = len(names)
    if count <= PAGE_ENTRIES_MAX // 4:
        return [count] if count else []
    from zlib import crc32

    ends: list[int] = []
    start = 0
    while start < count:
        longest = min(start + PAGE_ENTRIES_MAX, count)
        possible = range(start + PAGE_ENTRIES_MAX // 8, longest)
        start = next((end for end in possible if crc32(names[end - 1]) & 0x1FF == 0), longest)
        ends.append(start)
    return ends
