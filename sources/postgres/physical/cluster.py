"""Which cluster, and whether it can be saved by its replication stream: `postgres-cluster://USER@HOST:PORT[/DATABASE]`.

The options of the address are those of a database (`sources.postgres.database`). The database is where the server is
asked how it stands (`postgres` where none is named): what is saved is all of the cluster.

Promise: what can never succeed is refused before anything is read, with the statement that helps.
"""

from typing import Final
from urllib.parse import urlsplit

import msgspec

from repository.backup.source import SourceUnreachable
from repository.errors import LocationInvalid, Retry
from sources.postgres.catalog import quoted
from sources.postgres.database import Database, PasswordProvider

SCHEME: Final = "postgres-cluster"
KIND: Final = {"source": SCHEME}
"""What the root of a cluster's snapshot says of itself."""
SERVER_MIN: Final = 150_000
SERVER_BELOW: Final = 180_000
PAGE: Final = 8192


def is_cluster(word: str) -> bool:
    """Whether a source is the address of a cluster."""
    return word.startswith(f"{SCHEME}://")


class Cluster:
    """One cluster. `database` is where it is asked; `label` names it, whoever reads it."""

    def __init__(self, address: str, password: PasswordProvider = lambda: None) -> None:
        parts = urlsplit(address)
        if parts.scheme != SCHEME:
            raise LocationInvalid("this is no address of a cluster", hint=f"Write {SCHEME}://USER@HOST:PORT.")
        path = parts.path if parts.path.strip("/") else "/postgres"
        # Not by `urlunsplit`, which leaves out the slashes of nobody's host.
        query = f"?{parts.query}" if parts.query else ""
        self.database = Database(f"postgres://{parts.netloc}{path}{query}", password)
        self.label = f"{SCHEME}{self.database.label.removeprefix('postgres').removesuffix(path)}"


class Look(msgspec.Struct, frozen=True):
    """How the server stands. Positions in bytes of the log; `clock_us` since 1970; `bound`: bytes, -1 for none."""

    server: int
    system: str
    timeline: int
    level: str
    senders: int
    may_replicate: bool
    is_standby: bool
    has_checksums: bool
    page: int
    segment: int
    tablespaces: int
    clock_us: int
    inserted: int
    bound: int
    settings: dict[str, str]
    """Those that a server has to have at least as high as the one that wrote the log."""


QUERY: Final = """
SELECT pg_catalog.json_build_object(
  'server', pg_catalog.current_setting('server_version_num')::int,
  'system', (SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
  'timeline', CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0 ELSE ('x' || pg_catalog.substr(
    pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
  'level', pg_catalog.current_setting('wal_level'),
  'senders', pg_catalog.current_setting('max_wal_senders')::int,
  'may_replicate', (SELECT rolreplication OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
  'is_standby', pg_catalog.pg_is_in_recovery(),
  'has_checksums', pg_catalog.current_setting('data_checksums') = 'on',
  'page', pg_catalog.current_setting('block_size')::int,
  'segment', (SELECT bytes_per_wal_segment FROM pg_catalog.pg_control_init()),
  'tablespaces', (SELECT count(*) FROM pg_catalog.pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'clock_us', (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8,
  'inserted', CASE WHEN pg_catalog.pg_is_in_recovery() THEN 0
    ELSE (pg_catalog.pg_current_wal_insert_lsn() - '0/0')::int8 END,
  'bound', (SELECT CASE WHEN setting::int8 < 0 THEN -1 ELSE setting::int8 * 1048576 END FROM pg_catalog.pg_settings
    WHERE name = 'max_slot_wal_keep_size'),
  'settings', (SELECT pg_catalog.json_object_agg(name, setting) FROM pg_catalog.pg_settings WHERE name IN
    ('max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
     'max_locks_per_transaction')))
"""


def refuse(look: Look, user: str, *, is_log: bool = False) -> None:
    """Raise `SourceUnreachable` for what cannot be saved as it is, with what helps. `is_log`: the log alone is."""
    for is_so, message, hint, reason in (
        (look.server < SERVER_MIN, "the server is older than Postgres 15",
         "Save it by its rows: repo backup postgres://… and repo follow.", "server-version"),
        (look.server >= SERVER_BELOW, "the server is newer than Postgres 17, with which this was not proven",
         "Save it by its rows until it is: repo backup postgres://….", "server-version"),
        (look.is_standby, "a standby is not saved as a cluster", "Give the address of its primary.", "standby"),
        (not look.may_replicate, "the user may not read the replication stream",
         f"As a superuser: ALTER ROLE {quoted(user)} REPLICATION; and in pg_hba.conf a line for the database "
         "replication.", "replication-denied"),
        (look.level == "minimal", "the server does not write all that a restore needs (wal_level)",
         "ALTER SYSTEM SET wal_level = replica; then restart it.", "wal-level"),
        (look.senders < 2 - is_log, "the server has no room for two replication connections (max_wal_senders)",
         "ALTER SYSTEM SET max_wal_senders = 10; then restart it.", "wal-senders"),
        (look.page != PAGE, "the server was built with pages of another size than 8 KiB",
         "Save it by its rows: repo backup postgres://….", "page-size"),
        (look.tablespaces > 0, "the cluster has tablespaces of its own, which are not saved yet",
         "See them with SELECT spcname FROM pg_tablespace; move what is there (ALTER TABLE … SET TABLESPACE "
         "pg_default) and drop them, or save the databases by their rows: repo backup postgres://….", "tablespaces"),
    ):  # fmt: skip
        if is_so:
            raise SourceUnreachable(message, hint=hint, retry=Retry.AFTER_OPERATOR, reason=reason, answers=True)
