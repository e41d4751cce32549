"""A Merkle tree over an append-only log, kept in tiles.

Hashes, inclusion and consistency proofs are those of RFC 6962, section 2.1: a leaf is SHA-256(0x00 || bytes), a node
SHA-256(0x01 || left || right), and the left half of n leaves is the largest power of two below n.

Hashes are kept as in C2SP tlog-tiles: a tile has up to 256 hashes of 32 bytes, the roots of perfect subtrees of
256^level leaves each; its number says which. A tile only ever grows at its end, and one that has 256 hashes never
changes: whoever reads a tile that has grown meanwhile finds what they need at its beginning.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
EMPTY_ROOT = hashlib.sha256(b"").digest()


class TileId(NamedTuple):
    """Where a tile lies."""

    level: int
    number: int


class Range(NamedTuple):
    """The leaves from `begin` up to `end`, as they occur in proofs: `begin` is a multiple of what they are split by."""

    begin: int
    end: int


Tiles = Mapping[TileId, bytes]


def leaf_hash(body: bytes) -> bytes:
    """The hash of an entry."""
    return hashlib.sha256(b"\0" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


class Edge:
    """The right edge of a log of `size` leaves: its tiles that are not full. What appending needs, and no more."""

    def __init__(self, size: int = 0, tiles: Tiles | None = None) -> None:
        """`tiles`: those of `edge_tiles(size)`; they may have grown since. Raises KeyError where one is missing."""
        self.size = size
        self._open = {
            tile.level: bytearray((tiles or {})[tile][: _filled(size, tile.level) * HASH_BYTES])
            for tile in edge_tiles(size)
        }

    def append(self, leaves: Iterable[bytes]) -> dict[TileId, bytes]:
        """Append hashes of leaves; every tile that has changed, as it is then."""
        changed: dict[TileId, bytes] = {}
        touched: set[int] = set()
        for leaf in leaves:
            level, found = 0, leaf
            while True:
                touched.add(level)
                tile = self._open.setdefault(level, bytearray())
                tile += found
                if len(tile) < TILE_WIDTH * HASH_BYTES:
                    break
                changed[TileId(level, self.size >> (TILE_HEIGHT * (level + 1)))] = bytes(tile)
                found = _root_of([bytes(tile[at : at + HASH_BYTES]) for at in range(0, len(tile), HASH_BYTES)])
                self._open[level] = bytearray()
                level += 1
            self.size += 1
        for level in touched:
            if self._open[level]:
                changed[TileId(level, self.size >> (TILE_HEIGHT * (level + 1)))] = bytes(self._open[level])
        return changed

    def root(self) -> bytes:
        """The root of all leaves."""
        if self.size == 0:
            return EMPTY_ROOT
        perfect: list[bytes] = []
        for level in sorted(self._open, reverse=True):
            tile = self._open[level]
            hashes = [bytes(tile[at : at + HASH_BYTES]) for at in range(0, len(tile), HASH_BYTES)]
            perfect += [_root_of(hashes[begin:end]) for begin, end in _perfect(0, len(hashes))]
        return _joined(perfect)


def edge_tiles(size: int) -> list[TileId]:
    """The tiles of a log of `size` leaves that are there and not full."""
    levels = range(max(size.bit_length() + TILE_HEIGHT - 1, 0) // TILE_HEIGHT)
    return [TileId(level, size >> (TILE_HEIGHT * (level + 1))) for level in levels if _filled(size, level)]


def _filled(size: int, level: int) -> int:
    """How many hashes the last tile of a level has; 0 where it would be the beginning of the next one."""
    return (size >> (TILE_HEIGHT * level)) % TILE_WIDTH


def inclusion(index: int, size: int) -> list[Range]:
    """Whose roots prove that a leaf is at `index` of `size` leaves, from the leaf upwards. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in {size}")
    return list(_path(index, 0, size))


def _path(index: int, begin: int, end: int) -> Iterator[Range]:
    if end - begin == 1:
        return
    middle = begin + _split(end - begin)
    if index < middle:
        yield from _path(index, begin, middle)
        yield Range(middle, end)
    else:
        yield from _path(index, middle, end)
        yield Range(begin, middle)


def consistency(first: int, second: int) -> list[Range]:
    """Whose roots prove that the first `first` of `second` leaves are unchanged. Raises ValueError."""
    if not 0 < first <= second:
        raise ValueError(f"{first} is not within {second}")
    return list(_unchanged(first, 0, second, is_known=True))


def _unchanged(first: int, begin: int, end: int, *, is_known: bool) -> Iterator[Range]:
    if first == end:
        if not is_known:
            yield Range(begin, end)
        return
    middle = begin + _split(end - begin)
    if first <= middle:
        yield from _unchanged(first, begin, middle, is_known=is_known)
        yield Range(middle, end)
    else:
        yield from _unchanged(first, middle, end, is_known=False)
        yield Range(begin, middle)


def tiles_for(ranges: Iterable[Range]) -> set[TileId]:
    """The tiles from which the roots of ranges are made."""
    return {_place(begin, end)[0] for each in ranges for begin, end in _perfect(each.begin, each.end)}


def roots(ranges: Sequence[Range], tiles: Tiles) -> list[bytes]:
    """The roots of ranges. Raises KeyError where a tile is missing, ValueError where one is too short."""
    return [_joined([_perfect_root(begin, end, tiles) for begin, end in _perfect(*each)]) for each in ranges]


def _perfect_root(begin: int, end: int, tiles: Tiles) -> bytes:
    tile, at, width = _place(begin, end)
    found = tiles[tile][at * HASH_BYTES : (at + width) * HASH_BYTES]
    if len(found) != width * HASH_BYTES:
        raise ValueError(f"the tile {tile.level}/{tile.number} lacks hashes")
    return _root_of([found[each : each + HASH_BYTES] for each in range(0, len(found), HASH_BYTES)])


def _place(begin: int, end: int) -> tuple[TileId, int, int]:
    """Where a perfect subtree is found: tile, first hash, how many."""
    height = (end - begin).bit_length() - 1
    # A subtree that fills a tile is one hash of the tile above it.
    level = height // TILE_HEIGHT
    number = begin >> (TILE_HEIGHT * level)
    return TileId(level, number // TILE_WIDTH), number % TILE_WIDTH, 1 << (height % TILE_HEIGHT)


def _perfect(begin: int, end: int) -> Iterator[Range]:
    """The perfect subtrees that a range consists of, from the left: the largest first."""
    while begin < end:
        size = 1 << ((end - begin).bit_length() - 1)
        yield Range(begin, begin + size)
        begin += size


def _split(size: int) -> int:
    """The largest power of two that is less than `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _root_of(hashes: list[bytes]) -> bytes:
    """The root of a perfect tree."""
    while len(hashes) > 1:
        hashes = [node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
    return hashes[0]


def _joined(perfect: Sequence[bytes]) -> bytes:
    """The root of perfect subtrees side by side, the largest first."""
    *rest, found = perfect
    for left in reversed(rest):
        found = node_hash(left, found)
    return found


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root of which a proof says that the leaf is in it. Raises ValueError where the proof has another length."""
    ranges = inclusion(index, size)
    if len(ranges) != len(proof):
        raise ValueError("the proof has another length")
    found = leaf
    for each, (begin, _) in zip(proof, ranges, strict=True):
        found = node_hash(each, found) if begin < index else node_hash(found, each)
    return found


def roots_from_consistency(first: int, second: int, first_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The two roots that a proof speaks of, by RFC 9162, section 2.1.4.2. Raises ValueError as `consistency`."""
    if len(consistency(first, second)) != len(proof):
        raise ValueError("the proof has another length")
    if first == second:
        return first_root, first_root
    hashes = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = hashes[0]
    for each in hashes[1:]:
        if node & 1 or node == last:
            old, new = node_hash(each, old), node_hash(each, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, each)
        node, last = node >> 1, last >> 1
    return old, new
