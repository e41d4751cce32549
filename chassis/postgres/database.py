"""Postgres: schema and role of a service, connections of our own, and what a failure of Postgres means here.

One schema and one role per service. The administrator's role installs, under an advisory lock, what the
record needs and the service's own tables; the service's role has no DDL rights, sees its own schema alone,
and may only add to the events and the inbox, never change or delete them. The database belongs to the
platform: PUBLIC loses the right to make temporary tables in it and objects in its schema `public`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.sql import SQL, Identifier, Literal
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from chassis.postgres.circuit import PATIENCE_SECONDS, PatientPool
from chassis.postgres.connection_string import parsed
from chassis.postgres.trust import distrust
from contracts.errors import INVALID_SETTING, NO_SPACE, UNAVAILABLE, ErrorCode, PlatformError

# After a long outage the pool's own back-off would wait for minutes; giving up early makes the next
# request for a connection try again at once.
RECONNECT_SECONDS = 5.0
LOCK_SECONDS = 2.0

# Short enough for the channel's name to be an identifier, and free of what would need quoting.
_SCHEMA_NAME = re.compile(r"[a-z][a-z0-9_]{0,55}")

RECORD_STATEMENTS: tuple[LiteralString, ...] = (
    # Identity columns of the kind ALWAYS need no grant on a sequence and take no ids from the service.
    "CREATE TABLE stored_events ("
    " notification_id bigint GENERATED ALWAYS AS IDENTITY,"
    ' originator_id text COLLATE "C" NOT NULL,'
    " originator_version bigint NOT NULL CHECK (originator_version > 0),"
    " topic text NOT NULL,"
    " state bytea NOT NULL,"
    " CONSTRAINT stored_events_pkey PRIMARY KEY (originator_id, originator_version),"
    " CONSTRAINT stored_events_notification_id_key UNIQUE (notification_id))",
    "CREATE TABLE stored_snapshots ("
    ' originator_id text COLLATE "C" PRIMARY KEY,'
    " originator_version bigint NOT NULL,"
    " topic text NOT NULL,"
    " state bytea NOT NULL)",
    "CREATE TABLE inbox ("
    ' consumer text COLLATE "C" NOT NULL,'
    ' event_id text COLLATE "C" NOT NULL,'
    " handled_at timestamptz NOT NULL DEFAULT clock_timestamp(),"
    " PRIMARY KEY (consumer, event_id))",
    "CREATE TABLE log_incarnations ("
    " number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " incarnation text NOT NULL UNIQUE DEFAULT gen_random_uuid()::text,"
    " began_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    "INSERT INTO log_incarnations DEFAULT VALUES",
    "CREATE TABLE refill_permissions ("
    " number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " granted_at timestamptz NOT NULL DEFAULT clock_timestamp())",
    # One row: what the relay has published, so that it notices a stream that has less.
    "CREATE TABLE outbox_state ("
    " only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),"
    " incarnation text,"
    " high_water bigint NOT NULL DEFAULT 0,"
    " foreign_tail text,"
    " first_sequence bigint NOT NULL DEFAULT 1,"
    " lost bigint NOT NULL DEFAULT 0,"
    " permission_used bigint NOT NULL DEFAULT 0)",
    "INSERT INTO outbox_state DEFAULT VALUES",
)
"""What the record of every service needs, in the order of its history: new statements are added at the end."""

_APPEND_ONLY = ("stored_events", "inbox")
_READ_ONLY = ("log_incarnations", "refill_permissions", "schema_steps")
_RECORD = ("stored_events", "stored_snapshots", "inbox", "log_incarnations", "refill_permissions", "outbox_state")
# A table that the role may do nothing with is somebody else's, who keeps it here. By oid: names change in between.
_LACKING = """
    WITH tables AS (
        SELECT name, to_regclass(name)::oid AS oid FROM unnest(%(record)s::text[]) AS name
        UNION
        SELECT relname, oid FROM pg_class
        WHERE relnamespace = to_regnamespace(current_schema()) AND relkind = 'r'
        AND has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE')
    )
    SELECT name, command FROM tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS command
    WHERE (oid IS NULL OR NOT has_table_privilege(oid, command))
    AND NOT (command <> 'SELECT' AND name = ANY (%(read_only)s))
    AND NOT (command IN ('UPDATE', 'DELETE') AND name = ANY (%(append_only)s))
    AND NOT (command IN ('INSERT', 'DELETE') AND name = 'outbox_state')
    ORDER BY name, command
"""
_INSTALL = (
    "wedsync-backup down, then wedsync-backup up, or python -m deploy.elsewhere where others run Postgres: both install"
    " schemas and give the roles their rights. A table that somebody dropped is only in a copy of the record."
)


def install_schema(
    admin_dsn: str,
    *,
    service: str,
    role: str,
    password: str | None,
    statements: Sequence[LiteralString] = (),
    readers: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Make or bring up to date a service's schema (named as the service) and role. Idempotent, whole or not at all.

    `statements` are the service's own tables, with unqualified names, in the order of their history: each is
    executed once, ever; new ones are added at the end. `readers`: roles that may read some of the tables, by
    role; one that is not there is made, without a password. Raises INVALID_SETTING where an executed one was changed or
    taken away, or the string is none of libpq's, and UNAVAILABLE.
    """
    _check_name(service)
    parsed(admin_dsn, "WEDSYNC_POSTGRES_ADMIN_DSN")
    with translated(), _administering(), psycopg.connect(admin_dsn, connect_timeout=10) as connection:
        # Two installations at once would meet in "tuple concurrently updated".
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_key("install"),))
        _install_role(connection, role, password)
        schema = Identifier(service)
        connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(SQL("SET LOCAL search_path = {}").format(schema))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_steps ("
            " part text NOT NULL, number integer NOT NULL, digest text NOT NULL,"
            " executed_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (part, number))"
        )
        _execute_steps(connection, service, "record", RECORD_STATEMENTS)
        _execute_steps(connection, service, "service", statements)
        _grant(connection, schema, Identifier(role))
        for reader, tables in (readers or {}).items():
            _install_role(connection, reader, None)
            connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, Identifier(reader)))
            for table in tables:
                connection.execute(SQL("GRANT SELECT ON {} TO {}").format(Identifier(table), Identifier(reader)))


@contextmanager
def _administering() -> Iterator[None]:
    """To install again, which a service is told where it lacks rights or tables, is no help to who installs."""
    try:
        yield
    except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise PlatformError(
            INVALID_SETTING,
            f"the schema cannot be installed: {type(error).__name__}",
            hint="Install as the database's administrator. A dropped table is only in a copy of the record.",
        ) from error


def _install_role(connection: Connection[Any], role: str, password: str | None) -> None:
    name = Identifier(role)
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    if exists is None:
        connection.execute(SQL("CREATE ROLE {}").format(name))
    connection.execute(SQL("ALTER ROLE {} LOGIN NOCREATEDB NOCREATEROLE NOINHERIT").format(name))
    if password is not None:
        # The verifier is computed here, so that no log of statements ever holds the password.
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(name, Literal(verifier)))
    # A transaction that was forgotten, or waits for a lock without end, would stop every append.
    connection.execute(SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = '60s'").format(name))
    connection.execute(SQL("ALTER ROLE {} SET lock_timeout = '10s'").format(name))


def _execute_steps(connection: Connection[Any], schema: str, part: str, statements: Sequence[LiteralString]) -> None:
    rows = connection.execute("SELECT number, digest FROM schema_steps WHERE part = %s", (part,)).fetchall()
    executed = dict(rows)
    if len(executed) > len(statements):
        raise _of_another_build(
            schema,
            f"a newer build has changed them {len(executed)} times, and this one knows {len(statements)} of that",
        )
    for number, statement in enumerate(statements, start=1):
        digest = hashlib.sha256(" ".join(statement.split()).encode()).hexdigest()
        if number not in executed:
            connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_steps (part, number, digest) VALUES (%s, %s, %s)", (part, number, digest)
            )
        elif executed[number] != digest:
            raise _of_another_build(schema, f"another build has made step {number} of its {part} tables otherwise")


def _of_another_build(schema: str, why: str) -> PlatformError:
    return PlatformError(
        INVALID_SETTING,
        f"the tables of the schema {schema} are not those of this build: {why}",
        hint="Nothing was changed. Install the newest build that has ever run here, and start again. To go back to an "
        "older one, put the copy of the record from before the upgrade back (docs/operations.md, section 12).",
    )


def _grant(connection: Connection[Any], schema: Identifier, role: Identifier) -> None:
    database = Identifier(connection.info.dbname)
    connection.execute(SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    connection.execute(SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    connection.execute(SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(schema))
    connection.execute(SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
    connection.execute(
        SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role)
    )
    connection.execute(SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {}").format(schema, role))
    for table in _APPEND_ONLY:
        connection.execute(SQL("REVOKE UPDATE, DELETE ON {} FROM {}").format(Identifier(table), role))
    for table in _READ_ONLY:
        connection.execute(SQL("REVOKE INSERT, UPDATE, DELETE ON {} FROM {}").format(Identifier(table), role))
    connection.execute(SQL("REVOKE INSERT, DELETE ON outbox_state FROM {}").format(role))


def lacking_rights(connection: Connection[Any]) -> list[str]:
    """What the connection's role may not do of what `install_schema` lets it: table and command, `inbox (INSERT)`."""
    rows = connection.execute(
        _LACKING, {"record": list(_RECORD), "read_only": list(_READ_ONLY), "append_only": list(_APPEND_ONLY)}
    ).fetchall()
    return [f"{table} ({command})" for table, command in rows]


def without_rights(lacking: Sequence[str]) -> "Unable":
    """What is told where rights are lacking, or the tables that they are for."""
    message = f"postgres has no such table for this role, or not this right on it: {', '.join(lacking)}"
    return Unable(message, _INSTALL, is_final=True, lasts=True)


def advisory_key(purpose: str) -> int:
    """The key of an advisory lock of ours: 64 bits, signed, from a hash of its purpose."""
    digest = hashlib.blake2b(f"wedsync-backup/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def channel_of(schema: str) -> str:
    """The NOTIFY channel on which a schema's appends are announced. Channels are shared by a whole database."""
    return f"{schema}.events"


def connection_arguments(dsn: str, schema: str) -> dict[str, Any]:
    """What a connection of a service is opened with: autocommit, its schema visible without being named.

    Raises INVALID_SETTING where the schema's name is not one that needs no quoting, or the string is none of libpq's.
    """
    _check_name(schema)
    options = parsed(dsn, "WEDSYNC_POSTGRES_DSN").get("options")
    path = f"-c search_path={schema}"
    return {
        "autocommit": True,
        "options": f"{options} {path}" if options else path,
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # Keepalives are not sent while something is unacknowledged; without this a cut line is waited for
        # a quarter of an hour.
        "tcp_user_timeout": 25_000,
    }


def _check_name(schema: str) -> None:
    if not _SCHEMA_NAME.fullmatch(schema):
        raise PlatformError(
            INVALID_SETTING,
            "a schema's name is a lower-case letter and up to 55 more lower-case letters, digits and '_'",
            field="WEDSYNC_POSTGRES_SCHEMA",
        )


def open_pool(
    dsn: str,
    schema: str,
    *,
    name: str,
    max_size: int = 4,
    connection_class: type[AsyncConnection[Any]] = AsyncConnection,
) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """A pool, not opened yet, whose connections see the schema without naming it; autocommit.

    A connection that broke while it was idle is found when it is used: make the call again (UNAVAILABLE). Who waits
    for one has a deadline (see `chassis.postgres.circuit`).
    """
    return PatientPool(
        dsn,
        connection_class=connection_class,
        kwargs=connection_arguments(dsn, schema),
        min_size=1,
        max_size=max_size,
        open=False,
        name=name,
        reconnect_timeout=RECONNECT_SECONDS,
    )


def blocking_pool(dsn: str, schema: str, *, name: str, max_size: int) -> ConnectionPool[Connection[Any]]:
    """As `open_pool`, for threads. A lock is waited for no longer than a call is: else it looks like no answer."""
    arguments = connection_arguments(dsn, schema)
    arguments["options"] += f" -c lock_timeout={round(LOCK_SECONDS * 1000)}"
    return ConnectionPool(
        dsn,
        kwargs=arguments,
        min_size=min(2, max_size),
        max_size=max_size,
        open=False,
        name=name,
        timeout=PATIENCE_SECONDS,
        reconnect_timeout=RECONNECT_SECONDS,
    )


LASTS_SECONDS = 30
"""When to come back where somebody has to do something first."""


class Unable(PlatformError):
    """Postgres answers, and cannot do this now: it is not away, and nothing of it was done. The code is UNAVAILABLE.

    `is_final`: to try again in the same call does not help. `lasts`: it stays so until somebody does something.
    `told`: the code for people, where another says more: what waits is tried again by the code, and nobody else should.
    """

    def __init__(
        self, message: str, hint: str, *, is_final: bool = False, lasts: bool = False, told: ErrorCode = UNAVAILABLE
    ) -> None:
        super().__init__(UNAVAILABLE, message, part="postgres", hint=hint)
        if lasts:
            self.context["retry_after_seconds"] = LASTS_SECONDS
        self.is_final = is_final
        self.lasts = lasts
        self._told = told

    @property
    def told_code(self) -> ErrorCode:
        """See `PlatformError`."""
        return self._told


_UNABLE = (
    (
        errors.DiskFull,
        "postgres has no space left",
        "Free space on the disk of Postgres's data folder; what waits goes on by itself then.",
    ),
    (
        errors.LockNotAvailable,
        "another session of postgres holds a lock that is needed",
        "Look in pg_stat_activity for a session that is idle in a transaction, or alters a table, and end it.",
    ),
    (
        errors.ReadOnlySqlTransaction,
        "postgres takes no writes",
        "Name the primary server, not a standby; where it is the primary, see why it was made read-only.",
    ),
    (errors.DeadlockDetected, "two transactions of postgres wait for each other", "Try again."),
    (errors.SerializationFailure, "another transaction of postgres was faster", "Try again."),
    (
        errors.QueryCanceled,
        "postgres has ended a query",
        "Look at statement_timeout of the role, and in pg_stat_activity for what keeps it busy.",
    ),
    (errors.OutOfMemory, "postgres has no memory left", "Give its machine more memory, or let it do less at once."),
)
_LASTING = (errors.DiskFull, errors.ReadOnlySqlTransaction)
# Not a server that takes no writes: in a switchover that passes in seconds.
_FINAL = (errors.DiskFull, errors.LockNotAvailable)
# The server's message holds nothing else: "permission denied for table inbox", 'relation "inbox" does not exist',
# 'column "state" of relation "inbox" does not exist', 'column held.state does not exist'.
_NAMED = re.compile(r'("[\w.]+"|(?:table|schema|sequence) [\w.]+\Z|column [\w.]+)')


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into PlatformErrors: lost or refused connections → UNAVAILABLE; a server that answers
    that it cannot now (locks, no space, timeouts), or not before it is installed again (rights, tables and
    columns that somebody took away) → `Unable`, of the same code.

    A server that is not believed → INVALID_SETTING (`chassis.postgres.trust`).
    What is wrong in a statement itself (constraints, syntax) is left as psycopg raises it.
    """
    try:
        yield
    except (errors.InsufficientPrivilege, errors.UndefinedTable, errors.UndefinedColumn) as error:
        found = _NAMED.search(error.diag.message_primary or "")
        raise without_rights([found[1].strip('"') if found else type(error).__name__]) from error
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction) as error:
        for kind, message, hint in _UNABLE:
            if isinstance(error, kind):
                is_final, lasts = kind in _FINAL, kind in _LASTING
                told = NO_SPACE if kind is errors.DiskFull else UNAVAILABLE
                raise Unable(message, hint, is_final=is_final, lasts=lasts, told=told) from error
        if (why := distrust(error)) is not None:
            raise why from error
        # The text of the server's message may name hosts and users; class and SQLSTATE are enough to act on.
        raise PlatformError(
            UNAVAILABLE,
            f"postgres did not answer: {type(error).__name__}",
            part="postgres",
            sqlstate=getattr(error, "sqlstate", None),
        ) from error
