"""A change of a row as a statement, with which a restore makes it again.

Promise: what a row held is text between quotes and never anything else; a change that does not find exactly its one
row is an error (`1 / 0`), and ends the transaction that it is of.
"""

from collections.abc import Sequence

from sources.postgres.catalog import Table, quoted
from sources.postgres.following.messages import UNCHANGED, Change, Relation, Value

_ONE = b" RETURNING 1) SELECT 1 / (pg_catalog.count(*) = 1)::int FROM done \\g /dev/null\n"


def statement_of(change: Change, relation: Relation, table: Table) -> bytes:
    """One statement, for `psql`. Raises `ValueError` where the change does not fit the table as it is described."""
    name = table.sql.encode()
    columns = [quoted(column).encode() for column, _, _ in relation.columns]
    for row in (change.old, change.new):
        if row is not None and len(row) != len(columns):
            raise ValueError("a row has another number of columns than its table")
    if change.new is not None and not change.is_update:
        return _insert(name, columns, change.new)
    if change.new is None:
        assert change.old is not None  # noqa: S101 - a message has one of them
        return b"WITH done AS (DELETE FROM ONLY " + name + _found(name, relation, columns, change.old) + _ONE
    values = [
        column + b" = " + _literal(value)
        for column, value in zip(columns, change.new, strict=True)
        if not isinstance(value, bool)
    ]
    where = _found(name, relation, columns, change.old if change.old is not None else change.new)
    return b"WITH done AS (UPDATE ONLY " + name + b" SET " + b", ".join(values) + where + _ONE


def _insert(name: bytes, columns: Sequence[bytes], row: Sequence[Value]) -> bytes:
    if not columns:
        return b"INSERT INTO " + name + b" DEFAULT VALUES;\n"
    values = b", ".join(map(_literal, row))
    return b"INSERT INTO " + name + b" (" + b", ".join(columns) + b") VALUES (" + values + b");\n"


def _found(name: bytes, relation: Relation, columns: Sequence[bytes], row: Sequence[Value]) -> bytes:
    """The condition that only the row meets. Raises `ValueError` where there is no key."""
    keys = [
        (column, value)
        for column, value, (_, _, is_key) in zip(columns, row, relation.columns, strict=True)
        if is_key and value is not UNCHANGED
    ]
    if not keys:
        raise ValueError("a change has no key")
    if relation.identity != "f":
        return b" WHERE " + b" AND ".join(column + b" = " + _literal(value) for column, value in keys)
    # Not every type can be compared (json), and of equal rows one is meant.
    same = [b"(" + column + b")::text IS NOT DISTINCT FROM " + _literal(value) for column, value in keys]
    return b" WHERE ctid = (SELECT ctid FROM ONLY " + name + b" WHERE " + b" AND ".join(same) + b" LIMIT 1)"


def _literal(value: Value) -> bytes:
    if value is None:
        return b"NULL"
    if isinstance(value, bool) or b"\0" in value:
        raise ValueError("a value is none that a row can have")
    return b"'" + value.replace(b"'", b"''") + b"'"
