"""What a save takes beside its events: the message it handles, statements of the service; how it may be refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection, errors

from contracts.errors import CONCURRENT_CHANGE, UNAVAILABLE, PlatformError

_TRIED: LiteralString = """
    INSERT INTO stored_snapshots (originator_id, originator_version, topic, state)
    SELECT gen_random_uuid()::text, 0, 'none', convert_to(string_agg(md5(random()::text), ''), 'UTF8')
    FROM generate_series(1, 8192)
"""
"""256 KiB that do not compress: a disk that is full takes a short row for quite a while."""


class AlreadyHandled(Exception):
    """The message's effect is in the record already: acknowledge it and do nothing."""


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement of the service's own schema, executed in the transaction of a save, before the events.

    `parameters` as psycopg takes them. `rows`: how many rows it must touch; where it touches another number, or
    breaks a unique or exclusion constraint, nothing is saved and `StatementRefused` is raised with `name`.
    `is_contended`: it locks a row that another transaction locks together with more, in an order of its own: of such
    statements a transaction of several saves has one, since two could wait for what waits for them.
    """

    query: LiteralString
    parameters: Sequence[object] | dict[str, object] = ()
    rows: int | None = None
    name: str = ""
    is_contended: bool = False


class StatementRefused(PlatformError):
    """An extra statement did not touch what it must, or broke a constraint of uniqueness; nothing was saved.

    `name` is the statement's. The code is CONCURRENT_CHANGE; whoever knows what it means raises something better.
    """

    def __init__(self, name: str) -> None:
        super().__init__(CONCURRENT_CHANGE, f"the statement {name or 'without a name'} did not find what it needs")
        self.name = name


class CommitInDoubt(PlatformError):
    """The connection broke during the commit and did not come back: the events are in the record, or they are not.

    The same events, saved again with the same identities, are recognised.
    """

    def __init__(self) -> None:
        super().__init__(UNAVAILABLE, "postgres did not answer whether it has committed", part="postgres")


def execute(connection: Connection[Any], statement: Statement) -> None:
    """Execute a statement in the transaction of a save. Raises `StatementRefused`."""
    try:
        cursor = connection.execute(statement.query, statement.parameters)
    except (errors.UniqueViolation, errors.ExclusionViolation) as error:
        raise StatementRefused(statement.name) from error
    if statement.rows is not None and cursor.rowcount != statement.rows:
        raise StatementRefused(statement.name)


def try_write(connection: Connection[Any]) -> None:
    """Write as much as the longest event has, and take it back. Raises as writing does."""
    with connection.transaction(force_rollback=True):
        connection.execute(_TRIED)
