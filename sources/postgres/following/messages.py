"""The messages of Postgres's plug-in `pgoutput`, version 1 of its protocol, as far as a restore needs them.

Source: the manual of Postgres, "Logical Replication Message Formats". Big-endian; a text ends with a zero byte.

| first byte | what |
|---|---|
| `B`, `C` | a transaction begins; it was committed |
| `R` | a table: its id, names and columns, before the first change of it that a session of the slot tells |
| `I`, `U`, `D`, `T` | a row is new, is another one, is gone; tables are emptied |
| `O`, `Y`, `M` | origins, types, messages of applications: nothing of rows |
"""

import struct
from typing import Final, NamedTuple, TypeAlias

_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""The beginning of 2000, in microseconds since that of 1970."""
_IGNORED: Final = frozenset(b"OYM")
UNCHANGED: Final = False
"""In place of a value that is stored apart and was not changed: it is not told again."""

Value: TypeAlias = bytes | bool | None
"""Of a column: its text; None for NULL; `UNCHANGED`."""


class Begin(NamedTuple):
    """`number`: the transaction's, 32 bits. `time_us`: of its commit, since 1970. `position`: where its commit is."""

    position: int
    time_us: int
    number: int


class Commit(NamedTuple):
    """`end`: the position behind the commit."""

    end: int


class Relation(NamedTuple):
    """A table. `identity`: `d`, `f`, `i` or `n`. `columns`: name, type, and whether it is of the key."""

    table: int
    schema: str
    name: str
    identity: str
    columns: tuple[tuple[str, int, bool], ...]


class Change(NamedTuple):
    """A row's: `old` are the values that find it (of the key, or of all columns), `new` those that it has now."""

    table: int
    old: tuple[Value, ...] | None
    new: tuple[Value, ...] | None
    is_update: bool = False


class Truncate(NamedTuple):
    """Tables that are empty now. `restarts`: their sequences, too."""

    tables: tuple[int, ...]
    restarts: bool


Message: TypeAlias = Begin | Commit | Relation | Change | Truncate


def message_of(body: bytes) -> Message | None:
    """What a message says; None for what a restore does not need. Raises `ValueError` for what is none."""
    try:
        return _read(body)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError("this is no message of pgoutput") from error


def _read(body: bytes) -> Message | None:
    kind = body[:1]
    if kind == b"B":
        position, time_us, number = struct.unpack_from(">QqI", body, 1)
        return Begin(position, time_us + _POSTGRES_EPOCH_US, number)
    if kind == b"C":
        return Commit(struct.unpack_from(">xQQ", body, 1)[1])
    if kind == b"R":
        return _relation(body)
    if kind == b"T":
        count, options = struct.unpack_from(">IB", body, 1)
        return Truncate(struct.unpack_from(f">{count}I", body, 6), bool(options & 2))
    if kind in (b"I", b"U", b"D"):
        return _change(kind, body)
    if body and body[0] in _IGNORED:
        return None
    raise ValueError("this is no message of pgoutput")


def _relation(body: bytes) -> Relation:
    (table,) = struct.unpack_from(">I", body, 1)
    schema, at = _text(body, 5)
    name, at = _text(body, at)
    identity, count = struct.unpack_from(">cH", body, at)
    at += 3
    columns = []
    for _ in range(count):
        flags = body[at]
        column, at = _text(body, at + 1)
        columns.append((column, struct.unpack_from(">I", body, at)[0], bool(flags & 1)))
        at += 8
    # A schema without a name is pg_catalog.
    return Relation(table, schema or "pg_catalog", name, identity.decode(), tuple(columns))


def _change(kind: bytes, body: bytes) -> Change:
    (table,) = struct.unpack_from(">I", body, 1)
    at, old, new = 5, None, None
    if body[at : at + 1] in (b"K", b"O"):
        old, at = _row(body, at + 1)
    if kind != b"D":
        if body[at : at + 1] != b"N":
            raise ValueError("a change has no new row")
        new, at = _row(body, at + 1)
    if at != len(body) or (old is None and new is None) or (kind == b"I" and old is not None):
        raise ValueError("a change is not what it says")
    return Change(table, old, new, kind == b"U")


def _row(body: bytes, at: int) -> tuple[tuple[Value, ...], int]:
    (count,) = struct.unpack_from(">H", body, at)
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = body[at : at + 1]
        at += 1
        if kind == b"t":
            (length,) = struct.unpack_from(">I", body, at)
            at += 4
            if at + length > len(body):
                raise ValueError("a value is cut off")
            values.append(body[at : at + length])
            at += length
        elif kind in (b"n", b"u"):
            values.append(None if kind == b"n" else UNCHANGED)
        else:
            raise ValueError("a value is of no kind")
    return tuple(values), at


def _text(body: bytes, at: int) -> tuple[str, int]:
    end = body.find(b"\0", at)
    if end < 0:
        raise ValueError("a text has no end")
    return body[at:end].decode(), end + 1
