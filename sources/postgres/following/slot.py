"""A replication slot and the publication of the same name, by statements: what it tells is looked at, and let go of
when somebody has it durably.

Promise: to look (`peek`) changes nothing on the server; `advance` is the one thing that lets it forget.
A table without a replica identity is never published: its application could not update it any more.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from repository.backup.source import SourceUnreachable
from repository.errors import Retry
from sources.postgres.catalog import OWN_TABLES, SESSION, SYSTEM, literal, quoted
from sources.postgres.database import Database
from sources.postgres.programs import Complaint, Running, lines_of, psql
from sources.postgres.slot_name import slot_name
from sources.postgres.trouble import unreachable

SERVER_MIN: Final = 130000
_CREATE_SECONDS: Final = 60
"""How long open transactions are waited for: no slot begins before they have ended."""


class Listed(msgspec.Struct, frozen=True):
    """A table. `why`: it cannot be followed."""

    oid: int
    schema: str
    name: str
    node: int
    why: str
    is_published: bool

    @property
    def sql(self) -> str:
        """Its name in a statement."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"


class Known(msgspec.Struct, frozen=True):
    """What the server knows of the slot. `told`: the position up to which it need not tell any more."""

    plugin: str
    told: int
    kept: int
    is_active: bool
    is_lost: bool


class Look(msgspec.Struct, frozen=True):
    """The server, at one time. Positions in bytes of the log; `clock_us` since 1970; `bound`: bytes, -1 for none."""

    server: int
    encoding: str
    level: str
    is_standby: bool
    system: str
    snapshot: str
    clock_us: int
    inserted: int
    flushed: int
    bound: int
    slot: Known | None
    is_published: bool
    tables: tuple[Listed, ...]


_LOOK: Final = msgspec.json.Decoder(Look)
_QUERY: Final = f"""
WITH own AS (
  SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name,
    COALESCE(pg_catalog.pg_relation_filenode(c.oid), 0)::int8 AS node,
    CASE WHEN c.relpersistence <> 'p' THEN 'it is not logged'
      WHEN e.objid IS NOT NULL THEN 'it belongs to an extension'
      WHEN NOT (c.relreplident = 'f' OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid
        AND i.indisvalid AND i.indimmediate
        AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END))
        THEN 'it has no replica identity (a primary key, say)'
      WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN 'its owner is somebody else' ELSE '' END AS why,
    EXISTS (SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
      WHERE r.prrelid = c.oid AND p.pubname = %(name)s) AS is_published
  FROM {OWN_TABLES} AND c.relkind = 'r'
), slot AS (
  SELECT plugin, COALESCE(confirmed_flush_lsn - '0/0', 0)::int8 AS told, COALESCE(restart_lsn - '0/0', 0)::int8 AS kept,
    active AS is_active, COALESCE(wal_status, '') = 'lost' AS is_lost
  FROM pg_catalog.pg_replication_slots WHERE slot_name = %(name)s AND database = pg_catalog.current_database()
), log AS (SELECT pg_catalog.pg_is_in_recovery() AS is_standby)
SELECT pg_catalog.json_build_object(
  'server', pg_catalog.current_setting('server_version_num')::int,
  'encoding', pg_catalog.current_setting('server_encoding'),
  'level', pg_catalog.current_setting('wal_level'), 'is_standby', is_standby, 'system', {SYSTEM},
  'snapshot', pg_catalog.txid_current_snapshot()::text,
  'clock_us', (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8,
  'inserted', CASE WHEN is_standby THEN 0 ELSE (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::int8 END,
  'flushed', CASE WHEN is_standby THEN 0 ELSE (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::int8 END,
  'bound', (SELECT CASE WHEN setting::int8 < 0 THEN -1 ELSE setting::int8 * 1048576 END FROM pg_catalog.pg_settings
    WHERE name = 'max_slot_wal_keep_size'),
  'slot', (SELECT pg_catalog.row_to_json(slot) FROM slot),
  'is_published', EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = %(name)s),
  'tables', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.row_to_json(own)) FROM own), '[]')) FROM log;
"""  # noqa: S608 - of constants alone


class Slot:
    """One slot of one database. Close it at the end. Every call raises `SourceUnreachable`."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = slot_name(name)
        self._database = database
        self._session: Running | None = None

    def look(self) -> Look:
        """How it stands."""
        told = self._told(_QUERY.replace("%(name)s", literal(self.name)))
        try:
            return _LOOK.decode(b"\n".join(told))
        except msgspec.MsgspecError as error:
            raise self._nonsense() from error

    def publish(self, wanted: Sequence[Listed], unwanted: Sequence[Listed], *, is_there: bool) -> None:
        """Make the publication where there is none, add tables and take others out."""
        name = quoted(self.name)
        if not is_there:
            self._told(f"CREATE PUBLICATION {name} WITH (publish_via_partition_root = false);")
        for each in wanted:
            self._told(f"ALTER PUBLICATION {name} ADD TABLE ONLY {each.sql};")
        for each in unwanted:
            self._told(f"ALTER PUBLICATION {name} DROP TABLE ONLY {each.sql};")

    def create(self) -> None:
        """A new slot: it begins when all open transactions have ended."""
        self._told(
            f"SET statement_timeout = {_CREATE_SECONDS * 1000};\n"
            f"SELECT pg_catalog.pg_create_logical_replication_slot({literal(self.name)}, 'pgoutput') \\g /dev/null\n"
            "SET statement_timeout = 0;"
        )

    def drop(self) -> None:
        """The server keeps nothing for it any more."""
        self._told(f"SELECT pg_catalog.pg_drop_replication_slot({literal(self.name)}) \\g /dev/null")

    def peek(self, count: int) -> Iterator[bytes]:
        """The messages of whole transactions that it has not let go of, until there are `count` or more."""
        statement = (
            "COPY (SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes("  # noqa: S608 - quoted
            f"{literal(self.name)}, NULL, {count}, 'proto_version', '1', 'publication_names', "
            f"{literal(quoted(self.name))})) TO STDOUT;"
        )
        for line in self._lines(statement):
            if not line.startswith(b"\\\\x"):
                raise self._nonsense()
            yield bytes.fromhex(line[3:].decode("ascii", "replace"))

    def advance(self, position: int) -> None:
        """Let go of all that was committed before a position."""
        where = f"'{position >> 32:X}/{position & 0xFFFFFFFF:X}'"
        self._told(
            f"SELECT pg_catalog.pg_replication_slot_advance(slot_name, {where})"  # noqa: S608 - quoted
            f" FROM pg_catalog.pg_replication_slots WHERE slot_name = {literal(self.name)}"
            f" AND confirmed_flush_lsn < {where} \\g /dev/null"
        )

    def close(self) -> None:
        """End the session. The slot stays."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _told(self, statements: str) -> list[bytes]:
        return list(self._lines(statements))

    def _lines(self, statements: str) -> Iterator[bytes]:
        try:
            if self._session is None:
                self._session = psql(self._database)
                lock = self._database.lock_milliseconds
                begin = f"{SESSION}SET statement_timeout = 0;\nSET lock_timeout = {lock};"
                yield from lines_of(self._session, begin)
            yield from lines_of(self._session, statements)
        except Complaint as complaint:
            self.close()
            raise self._trouble(complaint) from complaint

    def _trouble(self, complaint: Complaint) -> SourceUnreachable:
        for words, reason, hint, retry in _TROUBLES:
            if re.search(words, f"{complaint.state} {complaint.said}"):
                name = quoted(self._database.login)
                return SourceUnreachable(
                    "the database cannot be followed",
                    hint=f"{hint.format(name=name, slot=self.name)} It says: {complaint.said}",
                    retry=retry,
                    reason=reason,
                    answers=True,
                )
        return unreachable(complaint, self._database, doing="cannot be followed")

    def _nonsense(self) -> SourceUnreachable:
        return SourceUnreachable(
            "what the server tells of its changes cannot be",
            hint="Is it a Postgres? Look at the slot's plug-in, which is pgoutput.",
            retry=Retry.AFTER_OPERATOR,
            reason="answer-not-understood",
            answers=True,
        )


_TROUBLES: Final = (
    (r"must be superuser or replication role|permission denied to use replication slots", "replication-denied",
     "As a superuser (or as postgres at Supabase): ALTER ROLE {name} REPLICATION;", Retry.AFTER_OPERATOR),
    (r"permission denied for database", "publication-denied",
     "A publication takes a right: GRANT CREATE ON DATABASE … TO {name};", Retry.AFTER_OPERATOR),
    (r"all replication slots are in use", "slots-exhausted",
     "Raise max_replication_slots, or drop a slot that nobody uses: SELECT * FROM pg_replication_slots;",
     Retry.AFTER_OPERATOR),
    (r"is active for PID|55006", "slot-active", "Somebody else follows by the slot {slot}: end that, or give another "
     "name by --slot.", Retry.LATER),
    (r"57014", "transaction-open",
     "A transaction is open for long, and a slot begins only behind it: SELECT * FROM pg_stat_activity WHERE "
     "xact_start < now() - interval '1 minute';", Retry.LATER),
    (r"can no longer get changes|has been invalidated|42704", "slot-lost",
     "The slot {slot} or its publication is gone: begin anew; what was committed meanwhile is a gap until the next "
     "dump.", Retry.LATER),
)  # fmt: skip
"""What the server says, a reason, what to do."""
