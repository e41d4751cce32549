"""A tar archive, written anew so that what is long begins on a page: then pages that did not change are found again.

Promise: the same members in the same order, with the same bytes; `tar` reads it. Before a member of a page or more
there is a pax header with a comment, which is as long as it takes. Memory: one piece of what comes in.
"""

from collections import deque
from typing import Final

from repository.errors import Damaged

_BLOCK: Final = 512
_ZERO: Final = bytes(_BLOCK)


class AlignedTar:
    """Takes an archive in pieces of any length, and gives the other one."""

    def __init__(self, page: int) -> None:
        self._page = page
        self._out: deque[memoryview] = deque()
        self._held = bytearray()
        """The beginning of a header."""
        self._left = 0
        """Bytes of the open member that have not come, with what fills up its last block."""
        self._position = 0
        self._has_ended = False

    def take(self, piece: bytes | memoryview) -> None:
        """The next piece. Raises `Damaged` for what is no archive."""
        view = memoryview(piece)
        while view and not self._has_ended:
            if self._left:
                body = view[: self._left]
                self._left -= len(body)
                self._give(body)
                view = view[len(body) :]
                continue
            count = _BLOCK - len(self._held)
            self._held += view[:count]
            view = view[count:]
            if len(self._held) == _BLOCK:
                self._header(bytes(self._held))
                self._held.clear()

    def end(self) -> None:
        """The archive is whole. Raises `Damaged` where it is not."""
        if self._left or self._held:
            raise Damaged("the server's archive ends in the middle of a file")
        self._give(memoryview(bytes(2 * _BLOCK)))

    def give_into(self, view: memoryview) -> int:
        """Put what there is into `view`; how much it was."""
        filled = 0
        while self._out and filled < len(view):
            first = self._out[0]
            count = min(len(first), len(view) - filled)
            view[filled : filled + count] = first[:count]
            filled += count
            if count == len(first):
                self._out.popleft()
            else:
                self._out[0] = first[count:]
        return filled

    def _header(self, block: bytes) -> None:
        if block == _ZERO:
            self._has_ended = True
            return
        size = _size_of(block)
        if size >= self._page:
            fill = -(self._position + _BLOCK) % self._page
            if fill:
                self._give(memoryview(_filler(fill if fill >= 2 * _BLOCK else fill + self._page)))
        self._give(memoryview(block))
        self._left = -(-size // _BLOCK) * _BLOCK

    def _give(self, view: memoryview) -> None:
        if view:
            self._position += len(view)
            self._out.append(view)


def _size_of(block: bytes) -> int:
    field = block[124:136]
    if sum(block[:148]) + sum(block[156:]) + 8 * 0x20 != _octal(block[148:156]):
        raise Damaged("the server's archive cannot be understood")
    return int.from_bytes(field[1:], "big") if field[0] & 0x80 else _octal(field)


def _octal(field: bytes) -> int:
    try:
        return int(field.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        raise Damaged("the server's archive cannot be understood") from error


def _filler(length: int) -> bytes:
    """A pax header of so many bytes in all, which says nothing."""
    size = length - _BLOCK
    begin = b"%d comment=" % size
    header = bytearray(_BLOCK)
    for at, field in (
        (0, b"page"), (100, b"0000600\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, b"%011o\0" % size),
        (136, b"00000000000\0"), (148, b" " * 8), (156, b"x"), (257, b"ustar\00000"),
    ):  # fmt: skip
        header[at : at + len(field)] = field
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + begin.ljust(size - 1, b" ") + b"\n"
