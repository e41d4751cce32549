"""Timers in Postgres: rows that fall due, by the database's own clock, and are taken by one replica at a time.

Promise: a timer's effect is recorded once. Whoever took a timer records what it causes and ends it (`Timer.done`, or
`Timer.moved` to its next moment) in one transaction: of two that took it, because the first was slow or seemed dead,
the second's fence holds, and the first records nothing. Who dies in between leaves it to others after `HOLD_SECONDS`.
A timer that was set anew or cancelled while it was handled is not ended by who handles it.

Only the database's clock counts. A clock that is put forward makes timers fire early, each once; one that is put back
makes them late, unless their kind is *recalled*: those are due at once, and whoever handles them plans anew. A hold
that lies further ahead than any hold is made for comes from another clock, and is none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

import msgspec

from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.statements import Statement

STATEMENTS: tuple[LiteralString, ...] = (
    """CREATE TABLE timers (
        kind text NOT NULL,
        name text NOT NULL,
        due_at timestamptz NOT NULL,
        body bytea NOT NULL,
        fence bigint NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        held_until timestamptz,
        set_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (kind, name)
    )""",
    "CREATE INDEX timers_due ON timers (due_at)",
    # In the order in which they are taken, so that neither many that are due nor many that are not cost a look.
    "CREATE INDEX timers_turn ON timers (greatest(due_at, held_until), kind, name)",
    "CREATE INDEX timers_held ON timers (held_until) WHERE held_until IS NOT NULL",
)
"""The table, for the statements of a service's schema. Complete: what comes later is a tuple of its own."""

HOLD_SECONDS = 60.0
"""For how long a timer that was taken is left to who took it."""
LONGEST_PAUSE_SECONDS = 300.0
RECALL_SECONDS = 30.0
"""By how much a clock may be put back, as it is when it is corrected, without any timer being looked at anew."""

# The fence is the transaction's number, which no other transaction has: also not one that made the row anew.
_SET: LiteralString = """
    INSERT INTO timers (kind, name, due_at, body, fence)
    VALUES (%(kind)s, %(name)s, {due}, %(body)s, pg_current_xact_id()::text::bigint)
    ON CONFLICT (kind, name) DO UPDATE
    SET due_at = excluded.due_at, body = excluded.body, fence = excluded.fence, tries = 0, held_until = NULL,
        set_at = clock_timestamp()
"""
_SET_AT: LiteralString = _SET.replace("{due}", "%(due)s")
_SET_IN: LiteralString = _SET.replace("{due}", "clock_timestamp() + make_interval(secs => %(seconds)s)")
# One that is due earlier stays that early; who handles it at this moment does not end it.
_SET_WITHIN: LiteralString = """
    INSERT INTO timers (kind, name, due_at, body, fence)
    SELECT %(kind)s, %(name)s, clock_timestamp() + make_interval(secs => %(seconds)s), %(body)s,
        pg_current_xact_id()::text::bigint WHERE {condition}
    ON CONFLICT (kind, name) DO UPDATE
    SET due_at = least(timers.due_at, excluded.due_at), body = excluded.body, fence = excluded.fence, tries = 0,
        held_until = NULL, set_at = clock_timestamp()
"""
_CANCEL: LiteralString = "DELETE FROM timers WHERE kind = %(kind)s AND name = %(name)s"
_DONE: LiteralString = "DELETE FROM timers WHERE kind = %(kind)s AND name = %(name)s AND fence = %(fence)s"
_MOVED: LiteralString = """
    UPDATE timers SET due_at = %(due)s, fence = pg_current_xact_id()::text::bigint, tries = 0, held_until = NULL,
        set_at = clock_timestamp(), body = coalesce(%(body)s, body)
    WHERE kind = %(kind)s AND name = %(name)s AND fence = %(fence)s
"""
# SKIP LOCKED: replicas that look at the same instant take different timers instead of waiting for each other.
# Not `clock_timestamp()`, here and below: it may change while it is compared, and so no index is used for it.
_TAKE: LiteralString = """
    WITH next AS (
        SELECT kind, name FROM timers
        WHERE kind = ANY(%(kinds)s) AND greatest(due_at, held_until) <= statement_timestamp()
        ORDER BY greatest(due_at, held_until), kind, name LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    UPDATE timers t
    SET fence = pg_current_xact_id()::text::bigint, tries = tries + 1,
        held_until = clock_timestamp() + make_interval(secs => %(hold)s)
    FROM next WHERE t.kind = next.kind AND t.name = next.name
    RETURNING t.kind, t.name, t.due_at, t.body, t.fence, t.tries, clock_timestamp()
"""
_PUT_BACK: LiteralString = """
    UPDATE timers SET held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE kind = %(kind)s AND name = %(name)s AND fence = %(fence)s
"""

_LOOK: LiteralString = """
    SELECT clock_timestamp(), (SELECT body FROM timers WHERE kind = %(kind)s AND name = %(name)s)
"""
_RECALL: LiteralString = """
    UPDATE timers SET due_at = statement_timestamp(), held_until = NULL, set_at = statement_timestamp()
    WHERE kind = ANY(%(kinds)s) AND set_at > statement_timestamp() + make_interval(secs => %(tolerated)s)
"""
_RELEASE: LiteralString = """
    UPDATE timers SET held_until = NULL
    WHERE held_until > statement_timestamp() + make_interval(secs => %(longest)s)
"""
# Whose hold is over, and who is there: the handler failed, or died. Else it was taken once more since.
_FAILING: LiteralString = """
    SELECT kind, count(*), min(name), max(tries) FROM timers
    WHERE kind = ANY(%(kinds)s) AND due_at <= statement_timestamp()
      AND (tries >= 2 OR tries = 1 AND held_until <= statement_timestamp()) GROUP BY kind
"""
_UNKNOWN: LiteralString = """
    SELECT kind, count(*), min(name) FROM timers
    WHERE kind <> ALL(%(kinds)s) AND due_at <= statement_timestamp() GROUP BY kind
"""

TIMER = "timer"
"""The name of the statements that end a timer: `StatementRefused` of it says that the timer is another's by now."""


class Timer(msgspec.Struct, frozen=True):
    """A timer that was taken. `tries`: how often, this time included. `body`: what was set with it.

    `now`: the time by the database's clock when it was taken.
    """

    kind: str
    name: str
    due_at: datetime
    body: bytes
    fence: int
    tries: int
    now: datetime

    def done(self) -> Statement:
        """Ends the timer, in the transaction of what it causes."""
        return Statement(_DONE, self.parameters(), rows=1, name=TIMER)

    def moved(self, due_at: datetime, body: bytes | None = None) -> Statement:
        """Lets it fall due again, in the transaction of what it causes now; with another body, where there is one."""
        return Statement(_MOVED, {**self.parameters(), "due": due_at, "body": body}, rows=1, name=TIMER)

    def parameters(self) -> dict[str, object]:
        """What names it in a statement, as long as it is this taker's."""
        return {"kind": self.kind, "name": self.name, "fence": self.fence}


def set_at(kind: str, name: str, due_at: datetime, body: bytes = b"") -> Statement:
    """Sets a timer, or sets it anew, in the transaction of a save. `kind` and `name` are its identity."""
    return Statement(_SET_AT, {"kind": kind, "name": name, "due": due_at, "body": body}, rows=1)


def set_in(kind: str, name: str, seconds: float, body: bytes = b"") -> Statement:
    """The same, so many seconds from now by the database's clock."""
    return Statement(_SET_IN, {"kind": kind, "name": name, "seconds": seconds, "body": body}, rows=1)


def set_within(
    kind: str, name: str, seconds: float, body: bytes = b"", *, condition: LiteralString = "true"
) -> Statement:
    """Lets a timer be due in so many seconds at the latest, where a condition (on `%(name)s`) is true.

    One that is due before stays so: it is set again and again without being put off.
    """
    query = _SET_WITHIN.replace("{condition}", condition)
    return Statement(query, {"kind": kind, "name": name, "seconds": seconds, "body": body})


def cancelled(kind: str, name: str) -> Statement:
    """Takes a timer away, whether or not it is there; who handles it at this moment can end it no more."""
    return Statement(_CANCEL, {"kind": kind, "name": name})


class TimerTable:
    """Takes timers. `hold_seconds`: see `HOLD_SECONDS`. All calls may raise UNAVAILABLE."""

    def __init__(self, pool: Pool, *, hold_seconds: float = HOLD_SECONDS) -> None:
        self._pool = pool
        self._hold_seconds = hold_seconds

    async def take(self, kinds: Sequence[str]) -> Timer | None:
        """The timer of these kinds that waits for longest, be it for its next try, and that nobody holds; or None."""
        parameters = {"kinds": list(kinds), "hold": self._hold_seconds}
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_TAKE, parameters)).fetchone()
        return None if row is None else Timer(*row)

    async def put_back(self, timer: Timer, seconds: float) -> bool:
        """Let others take it after so many seconds. False: it is over, or another's."""
        parameters = {**timer.parameters(), "seconds": min(seconds, LONGEST_PAUSE_SECONDS)}
        with translated():
            async with self._pool.connection() as connection:
                return (await connection.execute(_PUT_BACK, parameters)).rowcount == 1

    async def look(self, kind: str, name: str) -> tuple[datetime, bytes | None]:
        """The time by the database's clock, and the body of a timer; None where there is none."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_LOOK, {"kind": kind, "name": name})).fetchone()
        assert row is not None  # noqa: S101  # it has no condition
        return row[0], row[1]

    async def recall(self, kinds: Sequence[str]) -> None:
        """Let timers of these kinds be due that were set later than it is now: the clock was put back since."""
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(_RECALL, {"kinds": list(kinds), "tolerated": RECALL_SECONDS})

    async def release(self) -> None:
        """Let go of what is held for longer than anything is: the clock was put back since. See the promise."""
        parameters = {"longest": max(self._hold_seconds, LONGEST_PAUSE_SECONDS)}
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(_RELEASE, parameters)

    async def failing(self, kinds: Sequence[str]) -> dict[str, tuple[int, str, int]]:
        """By kind, of the timers that were tried in vain: how many, one of them, and the most tries."""
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_FAILING, {"kinds": list(kinds)})).fetchall()
        return {kind: (count, name, tries) for kind, count, name, tries in rows}

    async def unknown(self, kinds: Sequence[str]) -> dict[str, tuple[int, str]]:
        """By kind, of the due timers of any other kind: how many, and one of them."""
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_UNKNOWN, {"kinds": list(kinds)})).fetchall()
        return {kind: (count, name) for kind, count, name in rows}
