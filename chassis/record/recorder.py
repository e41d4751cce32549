"""How the record is written and read in Postgres: `eventsourcing`'s recorder interface over a schema of ours.

One transaction holds the inbox row, the extra statements, the events and a snapshot. Appends of a schema
are one after another under a transaction-level advisory lock, so that notification ids rise in the order of
commits and whoever follows the log never passes over a late one. (The library's own recorder locks the table,
for which the role would need the right to delete; here the role may only add.) None of the library's switches
is read from the environment: `POSTGRES_ENABLE_DB_FUNCTIONS`, which drops the lock and the inbox, does not exist.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder, Notification, StoredEvent, Subscription
from psycopg import Connection, errors
from psycopg.sql import SQL, Identifier
from psycopg_pool import ConnectionPool

from chassis.handling import Handled
from chassis.postgres.circuit import Circuit, cut, patience
from chassis.postgres.database import Unable, advisory_key, channel_of, lacking_rights, translated
from chassis.record.statements import AlreadyHandled, CommitInDoubt, Statement, execute
from contracts.errors import CONCURRENT_CHANGE, UNAVAILABLE, PlatformError

RETRY_PAUSE_SECONDS = 0.05
LEAST_CHECKOUT_SECONDS = 0.05

T = TypeVar("T")

_INSERT_INBOX = (
    "INSERT INTO inbox (consumer, event_id) SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING"
)
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_INSERT_EVENTS = (
    # The lock is the last that a transaction takes, and is held for the insert and the commit: ids are given to rows
    # that come out of the join, after it. The announcement rides with it: it is sent when the transaction is committed,
    # and not otherwise. One statement, and where it is all there is, one round trip: who appends holds up all others.
    "WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(%s), pg_notify(%s, ''))"
    " INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " SELECT e.originator_id, e.originator_version, e.topic, e.state"
    " FROM held, unnest(%s::text[], %s::bigint[], %s::text[], %s::bytea[])"
    " WITH ORDINALITY AS e (originator_id, originator_version, topic, state, place) ORDER BY e.place"
    " RETURNING notification_id"
)
_INSERT_SNAPSHOT = (
    "INSERT INTO stored_snapshots AS s (originator_id, originator_version, topic, state) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (originator_id) DO UPDATE"
    " SET originator_version = excluded.originator_version, topic = excluded.topic, state = excluded.state"
)
_FIND_OWN = (
    "SELECT s.notification_id FROM unnest(%s::text[], %s::bigint[], %s::bytea[])"
    " WITH ORDINALITY AS e (originator_id, originator_version, state, place)"
    " JOIN stored_events AS s USING (originator_id, originator_version) WHERE s.state = e.state ORDER BY e.place"
)


class _Attempt:
    """How far a transaction has come: once `committing`, a lost connection leaves open whether it was committed."""

    committing = False


class PostgresRecorder(ApplicationRecorder):
    """The events of one schema. Blocking; called from threads. Raises PlatformError UNAVAILABLE.

    No call lasts longer than `chassis.postgres.circuit.PATIENCE_SECONDS`; where the server takes a query and never
    answers it, `cut_overdue` ends the call.
    """

    def __init__(self, pool: ConnectionPool[Connection[Any]], schema: str) -> None:
        self._pool = pool
        self._lock_key = advisory_key(f"append/{schema}")
        self._channel = channel_of(schema)
        self._circuit = Circuit()
        self._busy: dict[int, tuple[Connection[Any], float]] = {}
        self._busy_lock = threading.Lock()

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        handled: Sequence[Handled] = (),
        statements: Sequence[Statement] = (),
        snapshots: Sequence[StoredEvent] = (),
        until: float | None = None,
        **_: Any,
    ) -> Sequence[int]:
        """Append, all or nothing; the notification ids. See `chassis.record.eventstore.EventStore.save` for the errors.

        `until`: the moment (of `time.monotonic`) at which the caller has gone.
        """
        give_up = self._admit(until)
        in_doubt = False
        while True:
            attempt = _Attempt()
            try:
                if in_doubt:
                    found = self._find_own(stored_events, give_up)
                    if found:
                        return found
                    in_doubt = False
                with translated():
                    return self._append(attempt, stored_events, handled, statements, snapshots, give_up)
            except PlatformError as error:
                if error.code is not UNAVAILABLE:
                    raise
                is_answer = isinstance(error, Unable)
                in_doubt = in_doubt or (attempt.committing and not is_answer)
                if in_doubt and not stored_events:
                    # Nothing in the record says whether this was done: the caller's message comes again,
                    # and the inbox knows.
                    raise
                if time.monotonic() > give_up or self._has_waited(error):
                    self._failed(error)
                    if in_doubt:
                        raise CommitInDoubt from error
                    raise
                time.sleep(RETRY_PAUSE_SECONDS)

    def _admit(self, until: float | None = None) -> float:
        """Until when a call is made again. Raises UNAVAILABLE where it would only wait in vain."""
        self._circuit.admit()
        now = time.monotonic()
        if until is not None and now >= until:
            raise PlatformError(UNAVAILABLE, "the record was too busy to be asked in time", part="postgres")
        return now + patience() if until is None else until

    @contextmanager
    def _connection(self, give_up: float) -> Iterator[Connection[Any]]:
        with self._pool.connection(timeout=max(LEAST_CHECKOUT_SECONDS, give_up - time.monotonic())) as connection:
            with self._busy_lock:
                self._busy[id(connection)] = (connection, give_up)
            try:
                yield connection
                self._circuit.succeeded()
            finally:
                with self._busy_lock:
                    del self._busy[id(connection)]

    def cut_overdue(self) -> None:
        """End the calls whose time is over: they wait for a server that has stopped, and a thread waits with each."""
        with self._busy_lock:
            for connection, give_up in self._busy.values():
                if time.monotonic() > give_up:
                    cut(connection)

    def _append(
        self,
        attempt: _Attempt,
        stored_events: Sequence[StoredEvent],
        handled: Sequence[Handled],
        statements: Sequence[Statement],
        snapshots: Sequence[StoredEvent],
        give_up: float,
    ) -> Sequence[int]:
        with self._connection(give_up) as connection:
            if not handled and not statements and not snapshots:
                attempt.committing = True
                return self._append_events(connection, stored_events, ())
            return self._append_whole(connection, attempt, stored_events, handled, statements, snapshots)

    def _append_whole(
        self,
        connection: Connection[Any],
        attempt: _Attempt,
        stored_events: Sequence[StoredEvent],
        handled: Sequence[Handled],
        statements: Sequence[Statement],
        snapshots: Sequence[StoredEvent],
    ) -> Sequence[int]:
        with connection.transaction():
            if handled:
                rows = [each.consumer for each in handled], [each.event_id for each in handled]
                if connection.execute(_INSERT_INBOX, rows).rowcount != len(handled):
                    raise AlreadyHandled(*handled)
            for statement in statements:
                execute(connection, statement)
            ids = self._append_events(connection, stored_events, snapshots) if stored_events else []
            attempt.committing = True
        return ids

    def _append_events(
        self, connection: Connection[Any], stored_events: Sequence[StoredEvent], snapshots: Sequence[StoredEvent]
    ) -> list[int]:
        try:
            rows = connection.execute(
                _INSERT_EVENTS,
                (
                    self._lock_key,
                    self._channel,
                    [event.originator_id for event in stored_events],
                    [event.originator_version for event in stored_events],
                    [event.topic for event in stored_events],
                    [event.state for event in stored_events],
                ),
            ).fetchall()
        except errors.UniqueViolation as error:
            raise PlatformError(
                CONCURRENT_CHANGE,
                "the aggregate has changed since it was loaded",
                aggregate_ids=sorted({str(event.originator_id) for event in stored_events}),
            ) from error
        for snapshot in snapshots:
            connection.execute(
                _INSERT_SNAPSHOT,
                (snapshot.originator_id, snapshot.originator_version, snapshot.topic, snapshot.state),
            )
        return [int(row[0]) for row in rows]

    def find_own(self, stored_events: Sequence[StoredEvent], *, until: float) -> list[int]:
        """The notification ids of events that are in the record as they are here: all of them or none."""
        give_up = self._admit(until)
        while True:
            try:
                return self._find_own(stored_events, give_up)
            except PlatformError as error:
                if error.code is not UNAVAILABLE:
                    raise
                if time.monotonic() > give_up or self._has_waited(error):
                    self._failed(error)
                    raise
                time.sleep(RETRY_PAUSE_SECONDS)

    def _failed(self, error: PlatformError) -> None:
        """A call has waited in vain: the next ones need not, unless the database has answered."""
        if isinstance(error, Unable):
            self._circuit.succeeded()
        else:
            self._circuit.failed()

    @staticmethod
    def _has_waited(error: PlatformError) -> bool:
        return isinstance(error, Unable) and error.is_final

    def _find_own(self, stored_events: Sequence[StoredEvent], give_up: float) -> list[int]:
        # With the lock in hand the transaction in doubt has ended, one way or the other. Envelopes have
        # ids of their own, so equal bytes are ours.
        with translated(), self._connection(give_up) as connection, connection.transaction():
            connection.execute(_LOCK, (self._lock_key,))
            rows = connection.execute(
                _FIND_OWN,
                (
                    [event.originator_id for event in stored_events],
                    [event.originator_version for event in stored_events],
                    [event.state for event in stored_events],
                ),
            ).fetchall()
        return [int(row[0]) for row in rows]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The history of one aggregate."""
        return self.read(lambda connection: _select(connection, "stored_events", originator_id, gt, lte, desc, limit))

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The log from a notification id on."""
        after = (start or 0) - (1 if inclusive_of_start else 0)
        rows = self.read(
            lambda connection: connection.execute(
                "SELECT notification_id, originator_id, originator_version, topic, state FROM stored_events"
                " WHERE notification_id > %s AND (%s::bigint IS NULL OR notification_id <= %s)"
                " AND (%s::text[] = '{}' OR topic = ANY(%s)) ORDER BY notification_id LIMIT %s",
                (after, stop, stop, list(topics), list(topics), limit),
            ).fetchall()
        )
        return [
            Notification(id=row[0], originator_id=row[1], originator_version=row[2], topic=row[3], state=row[4])
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        """The last notification id, None in an empty log."""
        row = self.read(
            lambda connection: connection.execute("SELECT max(notification_id) FROM stored_events").fetchone()
        )
        return row[0] if row is not None else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        """Not offered: the library's subscription dies for good with its connection; the relay follows the log."""
        raise NotImplementedError("follow the log with chassis.outbox.relay")

    def was_handled(self, handled: Handled) -> bool:
        """Whether a message's effect is in the record."""
        found = self.read(
            lambda connection: connection.execute(
                "SELECT 1 FROM inbox WHERE consumer = %s AND event_id = %s", (handled.consumer, handled.event_id)
            ).fetchone()
        )
        return found is not None

    def incarnation(self) -> str:
        """The id of the log as it is now."""
        return self.read(incarnation_of)

    def lacking_rights(self) -> list[str]:
        """What this role may not do of what it must, asked also while it is known that there was no answer."""
        return self._read(lacking_rights, time.monotonic() + patience())

    def now(self) -> datetime:
        """The time of day by the server's clock."""

        def ask(connection: Connection[Any]) -> datetime:
            ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
            found: datetime = now
            return found

        return self._read(ask, time.monotonic() + patience())

    def is_durable(self) -> bool:
        """Whether a commit is on disk when it is confirmed, as far as the connection's own setting goes."""
        ((setting,),) = self.read(lambda connection: connection.execute("SHOW synchronous_commit").fetchall())
        return str(setting) != "off"

    def read(self, query: Callable[[Connection[Any]], T]) -> T:
        """Make a reading call; made again for a while when a connection turns out to be broken."""
        return self._read(query, self._admit())

    def _read(self, query: Callable[[Connection[Any]], T], give_up: float) -> T:
        while True:
            try:
                with translated(), self._connection(give_up) as connection:
                    return query(connection)
            except PlatformError as error:
                if time.monotonic() > give_up or self._has_waited(error):
                    self._failed(error)
                    raise
                time.sleep(RETRY_PAUSE_SECONDS)


class SnapshotRecorder(AggregateRecorder):
    """The snapshots of one schema, at most one of an aggregate; written with the events (see `PostgresRecorder`)."""

    def __init__(self, recorder: PostgresRecorder) -> None:
        self._recorder = recorder

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Not offered: a snapshot is written in the transaction of the events that it follows."""
        raise NotImplementedError("snapshots are written with the events")

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The snapshot of an aggregate, if there is one."""
        return self._recorder.read(
            lambda connection: _select(connection, "stored_snapshots", originator_id, gt, lte, desc, limit)
        )


def incarnation_of(connection: Connection[Any]) -> str:
    """The id of the log as it is now."""
    rows = connection.execute("SELECT incarnation FROM log_incarnations ORDER BY number DESC LIMIT 1").fetchall()
    return str(rows[0][0])


def _select(
    connection: Connection[Any],
    table: str,
    originator_id: UUID | str,
    gt: int | None,
    lte: int | None,
    desc: bool,
    limit: int | None,
) -> list[StoredEvent]:
    query = SQL(
        "SELECT originator_id, originator_version, topic, state FROM {} WHERE originator_id = %s"
        " AND originator_version > %s AND (%s::bigint IS NULL OR originator_version <= %s)"
        " ORDER BY originator_version {} LIMIT %s"
    ).format(Identifier(table), SQL("DESC" if desc else "ASC"))
    return [
        StoredEvent(*row) for row in connection.execute(query, (originator_id, gt or 0, lte, lte, limit)).fetchall()
    ]
