"""The Merkle tree against RFC 6962 taken word for word, and against the vectors of Certificate Transparency."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.auditlog import tree
from chassis.auditlog.tree import Edge, TileId

# The leaves and roots that certificate-transparency's own tests use (`merkle_tree_test`).
LEAVES = [
    bytes.fromhex(each)
    for each in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, of the hashes of leaves."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def grown(hashes: Sequence[bytes], steps: Sequence[int]) -> tuple[Edge, dict[TileId, bytes]]:
    """A log that got its leaves in several steps, its edge read anew before each."""
    tiles: dict[TileId, bytes] = {}
    edge, at = Edge(), 0
    for step in [*steps, len(hashes)]:
        edge = Edge(edge.size, tiles)
        tiles |= edge.append(hashes[at : at + step])
        at = min(at + step, len(hashes))
    return edge, tiles


def test_roots_are_those_of_certificate_transparency() -> None:
    """The same leaves have the same roots, at each size."""
    edge = Edge()
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        edge.append([tree.leaf_hash(leaf)])
        assert edge.root().hex() == root
    assert Edge().root() == hashlib.sha256(b"").digest()


@given(size=st.integers(0, 700), steps=st.lists(st.integers(0, 300), max_size=4), data=st.data())
def test_tiles_prove_what_the_rfc_says(size: int, steps: list[int], data: st.DataObject) -> None:
    """However a log was grown: its root, inclusion of any leaf at any size, and consistency of any two sizes."""
    hashes = [tree.leaf_hash(str(number).encode()) for number in range(size)]
    edge, tiles = grown(hashes, steps)
    assert (edge.size, edge.root()) == (size, mth(hashes))
    if not size:
        return
    at = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, at - 1))
    ranges = tree.inclusion(index, at)
    needed = {each: tiles[each] for each in tree.tiles_for(ranges)}
    proof = tree.roots(ranges, needed)
    assert proof == [mth(hashes[begin:end]) for begin, end in ranges]
    assert tree.root_from_inclusion(index, at, hashes[index], proof) == mth(hashes[:at])
    first = data.draw(st.integers(1, at))
    ranges = tree.consistency(first, at)
    needed = {each: tiles[each] for each in tree.tiles_for(ranges)}
    proof = tree.roots(ranges, needed)
    assert tree.roots_from_consistency(first, at, mth(hashes[:first]), proof) == (mth(hashes[:first]), mth(hashes[:at]))


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 66_000])
def test_tree_of_three_levels(size: int) -> None:
    """Where tiles of tiles are full: root, a proof through all levels, and an edge that is read again."""
    hashes = [size.to_bytes(4, "big") + number.to_bytes(28, "big") for number in range(size)]
    edge, tiles = grown(hashes, [size - 1])
    assert edge.root() == mth(hashes)
    ranges = tree.inclusion(300, size)
    assert tree.root_from_inclusion(300, size, hashes[300], tree.roots(ranges, tiles)) == mth(hashes)


def test_what_is_not_there_is_refused() -> None:
    """A leaf behind the end, a size of nothing, a proof of another length, a tile that lacks hashes."""
    with pytest.raises(ValueError, match="no leaf"):
        tree.inclusion(3, 3)
    with pytest.raises(ValueError, match="within"):
        tree.consistency(0, 3)
    with pytest.raises(ValueError, match="length"):
        tree.root_from_inclusion(0, 2, b"", [])
    with pytest.raises(ValueError, match="length"):
        tree.roots_from_consistency(2, 3, b"", [])
    with pytest.raises(ValueError, match="lacks"):
        tree.roots(tree.inclusion(0, 2), {TileId(0, 0): bytes(32)})
