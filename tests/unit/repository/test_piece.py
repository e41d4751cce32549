"""Pieces of a file: together they are the file, wherever they begin and end, and holes are zeros."""

import hashlib
import stat

import pytest

from repository.errors import Damaged
from repository.index.index import Location
from repository.restore.piece import Content
from repository.stored.tree import Entry, Extra, Flag, Stat, encode_extents


def _content(
    chunks: list[bytes], size: int, extents: list[tuple[int, int]] | None = None
) -> tuple[Content, dict[bytes, bytes]]:
    kept = {hashlib.sha256(b"%d" % number + body).digest(): body for number, body in enumerate(chunks)}
    extra = Extra() if extents is None else Extra(extents=encode_extents(extents), flags=int(Flag.SPARSE))
    entry = Entry(b"f", Stat(stat.S_IFREG, 0, 0, size, 0, 0, 0, 1, 0), b"".join(kept), extra)
    return Content(entry, kept.__getitem__, lambda each: Location(b"p", 0, 0, 0, len(kept[each]))), kept


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 100])
def test_pieces_together_are_the_file(length: int) -> None:
    """Over the ends of chunks; beyond the end there is nothing."""
    content, kept = _content([b"abc", b"d", b"efghij", b"kl"], 12)
    whole = b"".join(content.piece(at, length, kept.__getitem__) for at in range(0, 12, length))
    assert whole == b"abcdefghijkl"
    assert content.piece(12, length, kept.__getitem__) == b""
    assert content.piece(11, length, kept.__getitem__) == b"l"


@pytest.mark.parametrize("length", [1, 3, 4, 7, 40])
def test_holes_are_zeros(length: int) -> None:
    """Before, between and behind what there is."""
    content, kept = _content([b"abc", b"defg"], 20, [(2, 3), (8, 1), (10, 3)])
    expected = b"\0\0abc\0\0\0d\0efg" + b"\0" * 7
    assert b"".join(content.piece(at, length, kept.__getitem__) for at in range(0, 20, length)) == expected


def test_empty_file_and_one_that_is_a_hole_have_pieces() -> None:
    """Of no chunk at all."""
    assert _content([], 0)[0].piece(0, 10, dict[bytes, bytes]().__getitem__) == b""
    assert _content([], 5, [])[0].piece(1, 10, dict[bytes, bytes]().__getitem__) == b"\0" * 4


def test_content_that_does_not_add_up_is_damaged() -> None:
    """Nothing is sent of it."""
    with pytest.raises(Damaged):
        _content([b"abc"], 4)
