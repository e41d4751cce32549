"""What the gateway asks a recovery worker and is answered at once: what lies in recovery points, and files' bytes.

No events: nothing is recorded of a look, and an answer is forgotten with it. Names of files are bytes, as in a
snapshot. Both sides are of one release or its neighbour's: fields are added with a default, none changes its meaning.
"""

from enum import StrEnum
from typing import Final

import msgspec

ASK_ENTRIES: Final = "ask.recovery.entries"
"""The subject of `EntriesAsked`. Whoever of the workers is free answers."""
ANSWER_SECONDS: Final = 10.0
"""So long a worker takes at most; whoever has no answer a moment later gets none."""
ASK_CONTENT: Final = "ask.recovery.content"
"""The subject of `ContentAsked`."""
PIECE_BYTES: Final = 512 * 1024
"""Bytes of a file in one answer, at most: a message is bounded."""
POINTS_MAX: Final = 50
"""Recovery points in one question."""


class EntryKind(StrEnum):
    """What an entry is."""

    FOLDER = "folder"
    FILE = "file"
    """Also a bucket's object, and what a database's table was saved as."""
    SYMLINK = "symlink"
    OTHER = "other"


class EntriesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What lies at a path of some recovery points of one organisation.

    `limit`: entries of the folder there, from `place` on (`next_place` of an answer); 0: only what lies at the path.
    """

    organisation: str
    recovery_point_ids: tuple[str, ...]
    path: bytes
    place: int = 0
    limit: int = 0


class EntryFound(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. `modified_ns`: since 1970, by the source. `content`: equal where the bytes are; empty without any.

    `states`: what makes it less than it was: `changed` while it was read, `unreadable`, `not-entered`.
    """

    name: bytes
    kind: EntryKind
    size: int
    modified_ns: int
    states: tuple[str, ...] = ()
    target: bytes = b""
    content: str = ""


class PointLooked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in one point: `entry` at the path (None: nothing is there), `entries` below it.

    `code`: why nobody could look. `unreadable_pages`, `hidden`: entries are missing in the list.
    """

    recovery_point_id: str
    code: str | None = None
    entry: EntryFound | None = None
    entries: tuple[EntryFound, ...] = ()
    next_place: int | None = None
    unreadable_pages: int = 0
    hidden: int = 0


class EntriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. `code`: why there is none. `points`: in the order in which they were asked for."""

    code: str | None = None
    points: tuple[PointLooked, ...] = ()


class ContentAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of one file of a recovery point: at most `length` bytes (`PIECE_BYTES`) from `offset` on.

    `scope`: patterns of what a recovery may show; empty for all of it. `content`: what an earlier piece was of.
    """

    organisation: str
    recovery_point_id: str
    path: bytes
    offset: int = 0
    length: int = PIECE_BYTES
    scope: tuple[str, ...] = ()
    content: str = ""


class ContentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The piece. `code`: why there is none. `body` ends where the file does, or after the length that was asked for."""

    code: str | None = None
    entry: EntryFound | None = None
    body: bytes = b""


_encode = msgspec.msgpack.Encoder().encode
_ASKED = msgspec.msgpack.Decoder(EntriesAsked)
_ANSWER = msgspec.msgpack.Decoder(EntriesAnswer)
_CONTENT_ASKED = msgspec.msgpack.Decoder(ContentAsked)
_CONTENT_ANSWER = msgspec.msgpack.Decoder(ContentAnswer)


def encoded(message: EntriesAsked | EntriesAnswer | ContentAsked | ContentAnswer) -> bytes:
    """A question or an answer as it is sent."""
    return _encode(message)


def asked_of(body: bytes) -> EntriesAsked:
    """A question. Raises `msgspec.DecodeError`."""
    return _ASKED.decode(body)


def answer_of(body: bytes) -> EntriesAnswer:
    """An answer. Raises `msgspec.DecodeError`."""
    return _ANSWER.decode(body)


def content_asked_of(body: bytes) -> ContentAsked:
    """A question. Raises `msgspec.DecodeError`."""
    return _CONTENT_ASKED.decode(body)


def content_answer_of(body: bytes) -> ContentAnswer:
    """An answer. Raises `msgspec.DecodeError`."""
    return _CONTENT_ANSWER.decode(body)
