"""Reads a cluster's log as far as a restore has to: which transactions were committed where and when, and named points.

Promise: nothing but the bytes decides; the same as Postgres 15 to 17 reads in them. What is no whole record at the end
is not there. Checksums of records are Postgres's to verify, when it plays them.

Bytes: pages of 8 KiB, each with a header of 24 (the first of a segment: 40), in which bit 1 of the information says
that the page begins with the rest of a record, and bit 8 that this rest was never written. A record begins on a
multiple of 8: total length (u32), transaction (u32), previous record (u64), information (u8), manager (u8), 2 unused,
checksum (u32); then headers of its blocks, of which commits have none, and at its end its own data.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from repository.errors import Damaged

PAGE: Final = 8192
_PAGE_HEADER: Final = struct.Struct("<HHIQI")
_RECORD_HEADER: Final = struct.Struct("<IIQBB")
_U32: Final = struct.Struct("<I")
_RECORD_LENGTH: Final = 24
_RECORD_MAX: Final = 1 << 30
_GOES_ON, _IS_LONG, _NEVER_CAME = 1, 2, 8
_LOG, _TRANSACTION = 0, 1
_SWITCH, _NAMED = 0x40, 0x70
_COMMIT, _COMMIT_PREPARED, _HAS_MORE = 0x00, 0x30, 0x80
_TWO_PHASE: Final = 1 << 4
_BEFORE_TWO_PHASE: Final = ((1 << 0, 8, 0), (1 << 1, 4, 4), (1 << 2, 4, 12), (1 << 8, 4, 12), (1 << 3, 4, 16))
"""What may lie in a commit before the transaction that was prepared, in its order: its bit, its bytes (of a list those
of its count), and the bytes of each of a list (xact.h, `ParseCommitRecord`).
"""
_OWN_SHORT, _OWN_LONG, _ORIGIN, _TOP_LEVEL = 255, 254, 253, 252
_SINCE_1970_US: Final = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where Postgres begins to count."""


class Found(NamedTuple):
    """A commit, or a named point (`name`). `start`, `end`: where its record lies. `time_us`: since 1970."""

    start: int
    end: int
    time_us: int
    xid: int
    name: str | None


class LogReader:
    """Takes the log from the beginning of a page on, in pieces of any length. `end`: behind the last whole record."""

    def __init__(self, start: int, segment: int) -> None:
        if start % PAGE:
            raise ValueError("the log is read from the beginning of a page on")
        self._segment = segment
        self._at = start
        """Where `_page` begins."""
        self._page = bytearray()
        self._record = bytearray()
        self._record_start = 0
        self._record_length = 0
        self._offset = 0
        """How far the page was read."""
        self._skipped_to = 0
        """After a switch of segments: the beginning of the next one."""
        self.end = start

    def take(self, data: bytes) -> Iterator[Found]:
        """The next bytes. Raises `Damaged` for what is no log."""
        view = memoryview(data)
        while view:
            count = PAGE - len(self._page)
            self._page += view[:count]
            view = view[count:]
            yield from self._read()
            if len(self._page) == PAGE:
                self._at += PAGE
                self._page.clear()
                self._offset = 0

    def _read(self) -> Iterator[Found]:
        """What the page has beyond what was read of it."""
        page = self._page
        if self._at < self._skipped_to:
            return
        if not self._offset:
            if len(page) < 40:
                return
            if not self._begin_page():
                return
        while True:
            if not self._record_length:
                self._offset = -(-self._offset // 8) * 8
                if len(page) - self._offset < 4:
                    return
                length = int.from_bytes(page[self._offset : self._offset + 4], "little")
                if not length:
                    return
                if not _RECORD_LENGTH <= length <= _RECORD_MAX:
                    raise Damaged("the log has a record that is none")
                self._record_start, self._record_length = self._at + self._offset, length
            count = min(self._record_length - len(self._record), len(page) - self._offset)
            if count <= 0:
                return
            self._record += page[self._offset : self._offset + count]
            self._offset += count
            if len(self._record) < self._record_length:
                return
            yield from self._whole()
            if self._at < self._skipped_to:
                return

    def _begin_page(self) -> bool:
        magic, information, _, address, rest = _PAGE_HEADER.unpack_from(self._page)
        if not magic and not address:
            return False  # it was never written
        if address != self._at:
            raise Damaged("the log is of another place")
        self._offset = 40 if information & _IS_LONG else 24
        if information & _NEVER_CAME:
            self._record.clear()
            self._record_length = 0
        elif self._record_length and not information & _GOES_ON:
            raise Damaged("the log has a record without its end")
        elif information & _GOES_ON and not self._record_length:
            # Where reading began in the middle of a record: it is passed over.
            self._offset += rest
            if self._offset >= PAGE:
                self._skipped_to = self._at + PAGE
                return False
        return True

    def _whole(self) -> Iterator[Found]:
        record, start = bytes(self._record), self._record_start
        self._record.clear()
        self._record_length = 0
        end = self.end = self._at + -(-self._offset // 8) * 8
        _, xid, _, information, manager = _RECORD_HEADER.unpack_from(record)
        if manager == _LOG and information & 0xF0 == _SWITCH:
            self._skipped_to = -(-end // self._segment) * self._segment
            self.end = self._skipped_to
        elif manager == _LOG and information & 0xF0 == _NAMED:
            own = _own(record)
            name = own[8:72].partition(b"\0")[0].decode("utf-8", "replace")
            yield Found(start, end, _time(own), 0, name)
        elif manager == _TRANSACTION and information & 0x70 in (_COMMIT, _COMMIT_PREPARED):
            own = _own(record)
            if information & 0x70 == _COMMIT_PREPARED and information & _HAS_MORE:
                xid = _prepared(own) or xid
            yield Found(start, end, _time(own), xid, None)


def _time(own: bytes) -> int:
    if len(own) < 8:
        raise Damaged("the log has a record that is none")
    return int.from_bytes(own[:8], "little", signed=True) + _SINCE_1970_US


def _prepared(own: bytes) -> int:
    """The transaction that was prepared and is committed now, for whoever commits it has none; 0: it is not said.

    Raises `Damaged`.
    """
    try:
        (bits,) = _U32.unpack_from(own, 8)
        at = 12
        for bit, length, each in _BEFORE_TWO_PHASE:
            if bits & bit:
                at += length + (_U32.unpack_from(own, at)[0] * each if each else 0)
        return int(_U32.unpack_from(own, at)[0]) if bits & _TWO_PHASE else 0
    except struct.error:
        raise Damaged("the log has a commit that is none") from None


def _own(record: bytes) -> bytes:
    """The data of a record that has no blocks."""
    at = _RECORD_LENGTH
    while at < len(record):
        kind = record[at]
        if kind == _OWN_SHORT:
            return record[at + 2 :]
        if kind == _OWN_LONG:
            return record[at + 5 :]
        if kind not in (_ORIGIN, _TOP_LEVEL):
            break
        at += 3 if kind == _ORIGIN else 5
    raise Damaged("the log has a commit that is none")
