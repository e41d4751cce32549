"""How a server of a pair stands: primary or standby, how far its log reaches, whether it is fenced.

Promise: nothing is changed by looking. A server that does not answer is told as that, never as one that is off.
"""

import re
import time
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from repository.errors import RepositoryError, Retry
from sources.postgres.database import Database
from sources.postgres.physical.connection import Connection, ServerSaid

Answer = TypeVar("Answer")
MAINTENANCE: Final = "postgres"
"""Where servers are asked and fenced from. No application may have its rows there: it stays open to superusers."""
FENCE: Final = "wedsync.fence"
"""The setting of databases by which a server says that it is fenced, and by whom. Standbys have it, too."""


class StandbyRefused(RepositoryError):
    """What was asked of a pair is not done: nothing was changed."""

    code = "standby-refused"
    retry = Retry.AFTER_OPERATOR
    hint = "See how both servers stand."

    def __init__(self, message: str, *, reason: str, hint: str, retry: Retry = Retry.AFTER_OPERATOR) -> None:
        super().__init__(message, hint=hint, retry=retry, reason=reason)
        self.reason = reason


class Follower(msgspec.Struct, frozen=True):
    """A standby as its primary sees it. `is_waited_for`: commits wait until it has them."""

    name: str
    is_waited_for: bool
    flushed: int


class State(msgspec.Struct, frozen=True):
    """How one server stands. Positions in bytes of the log.

    `written`: durable of its log; of a standby, received. `replayed`: of a standby, what can be read there. `fence`:
    who has fenced it; None: nobody has. `is_settled`: of a standby, whether `written` is all that it has; one that was
    just started still looks through its own log. `open_databases`: those that take connections, but for
    the maintenance one.
    """

    server: int
    system: str
    is_standby: bool
    timeline: int
    written: int
    replayed: int
    is_settled: bool
    segment: int
    fence: str | None
    open_databases: int
    has_source: bool
    followers: list[Follower]

    @property
    def writes(self) -> bool:
        """Whether applications can write to it."""
        return not self.is_standby and self.fence is None


_STATE: Final = msgspec.json.Decoder(State)
_QUERY: Final = """
SELECT pg_catalog.json_build_object(
  'server', pg_catalog.current_setting('server_version_num')::int,
  'system', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
  'is_standby', s.standby,
  'timeline', CASE WHEN s.standby THEN greatest(
      (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
      (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()),
      (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))
    ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int
    END,
  'written', CASE WHEN s.standby
    THEN greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) - '0/0'
    ELSE pg_catalog.pg_current_wal_flush_lsn() - '0/0' END::int8,
  'replayed', CASE WHEN s.standby THEN pg_catalog.pg_last_wal_replay_lsn() - '0/0'
    ELSE pg_catalog.pg_current_wal_flush_lsn() - '0/0' END::int8,
  'is_settled', NOT s.standby OR pg_catalog.pg_last_wal_receive_lsn() IS NOT NULL OR EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity
    WHERE backend_type = 'startup' AND wait_event = 'RecoveryRetrieveRetryInterval'),
  'segment', (SELECT bytes_per_wal_segment FROM pg_catalog.pg_control_init()),
  'fence', (SELECT pg_catalog.min(pg_catalog.substr(each, 15))
    FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS each
    WHERE setrole = 0 AND each LIKE 'wedsync.fence=%'),
  'open_databases', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_database
    WHERE datallowconn AND datname <> pg_catalog.current_database()),
  'has_source', (SELECT pg_catalog.count(*) > 0 FROM pg_catalog.pg_stat_wal_receiver WHERE status = 'streaming'),
  'followers', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', application_name,
      'is_waited_for', sync_state IN ('sync', 'quorum'),
      'flushed', coalesce(flush_lsn - '0/0', 0)::int8)), '[]') FROM pg_catalog.pg_stat_replication
    WHERE state IN ('streaming', 'catchup')))
FROM (SELECT pg_catalog.pg_is_in_recovery() AS standby) s
"""


class Server:
    """One server of a pair, by the address of a database on it."""

    def __init__(self, database: Database) -> None:
        if database.name == MAINTENANCE:
            raise StandbyRefused(
                f"an application's rows are in the database {MAINTENANCE}, from which servers are fenced",
                reason="maintenance-database",
                hint=f"Name the application's own database; {MAINTENANCE} stays open to superusers.",
            )
        self.database = database
        address = urlunsplit(urlsplit(database.address)._replace(path=f"/{MAINTENANCE}"))
        self.maintenance = Database(address, database.password, database.user, database.patience_seconds)

    @property
    def label(self) -> str:
        """What names it, without a password."""
        return self.maintenance.label

    @property
    def place(self) -> tuple[str, int]:
        """Its host and port."""
        parts = urlsplit(self.database.address)
        return parts.hostname or "localhost", parts.port or 5432

    def connect(self, *, is_replication: bool = False) -> Connection:
        """A connection to it. Raises `SourceUnreachable`."""
        return Connection(self.maintenance, is_replication=is_replication)

    def look(self) -> State:
        """How it stands. Raises `SourceUnreachable`."""
        return self.asked(look)

    def asked(self, question: Callable[[Connection], Answer]) -> Answer:
        """What a question over a connection of its own gives. Raises `SourceUnreachable`."""
        connection = self.connect()
        try:
            return question(connection)
        except ServerSaid as said:
            raise connection.trouble(said, "cannot be asked") from said
        finally:
            connection.close()


def settled(server: Server, *, seconds: float = 60.0) -> State:
    """How a standby stands once all that it has was looked through. Raises `StandbyRefused`, `SourceUnreachable`."""
    until = time.monotonic() + seconds
    while not (state := server.look()).is_settled:
        if time.monotonic() > until:
            raise StandbyRefused(
                "the standby still looks through its own log",
                reason="not-settled",
                hint="How far it reaches is known when that is over: it is tried again.",
                retry=Retry.LATER,
            )
        time.sleep(0.1)
    return state


def look(connection: Connection) -> State:
    """How the server of a connection stands. Raises `ServerSaid`."""
    ((told,),) = connection.ask(_QUERY)
    return _STATE.decode(told or "")


def literal(text: str) -> str:
    """A text in a statement: of what names fences, which has no quotes."""
    if not re.fullmatch(r"[A-Za-z0-9:_-]{1,100}", text):
        raise ValueError("a fence has a name of letters, digits, colons, underscores and hyphens")
    return f"'{text}'"
