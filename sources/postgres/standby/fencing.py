"""Keeps applications from writing to a server, and lets them again.

Promise: a fenced server has ended every session and takes no other, of superusers neither, in each database but the
maintenance one, and there of nobody but superusers. The fence is of one holder: nobody else takes it away or puts
another in its place. It is a row of the server's own, so that a server which was off comes back fenced; and it is in
its log, so that the standby has it, too, and stays shut when it is promoted, until its holder opens it.
"""

import time
from typing import Final

from repository.errors import Retry
from sources.postgres.physical.connection import Connection, ServerSaid
from sources.postgres.standby.server import FENCE, MAINTENANCE, Server, StandbyRefused, State, literal, look

_LOCK: Final = 0x57454446
"""Whoever fences or opens goes one after the other."""
_SESSIONS_SECONDS: Final = 10.0
_HELD: Final = "fenced by another"
_BOUND: Final = "wedsync.fence_connections"
"""How many sessions the maintenance database took before."""

# A commit must not wait for a standby: it may be what has failed.
_FENCE: Final = """
SET synchronous_commit = local;
DO $do$ DECLARE each record; held text; BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock({lock});
  SELECT min(pg_catalog.substr(one, {skip})) INTO held FROM pg_catalog.pg_db_role_setting,
    pg_catalog.unnest(setconfig) AS one WHERE setrole = 0 AND one LIKE '{fence}=%';
  IF held <> {token} THEN RAISE EXCEPTION '{held} (%)', held; END IF;
  FOR each IN SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datname <> '{maintenance}' LOOP
    EXECUTE pg_catalog.format('ALTER DATABASE %I ALLOW_CONNECTIONS false', each.datname);
    EXECUTE pg_catalog.format('ALTER DATABASE %I SET {fence} = %L', each.datname, {token});
  END LOOP;
  IF held IS NULL THEN
    FOR each IN SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = '{maintenance}' LOOP
      EXECUTE pg_catalog.format('ALTER DATABASE {maintenance} SET {bound} = %L', each.datconnlimit);
    END LOOP;
    ALTER DATABASE {maintenance} CONNECTION LIMIT 0;
    EXECUTE pg_catalog.format('ALTER DATABASE {maintenance} SET {fence} = %L', {token});
  END IF;
END $do$
"""
_OPEN: Final = """
SET synchronous_commit = local;
DO $do$ DECLARE each record; bound text; BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock({lock});
  FOR each IN SELECT datname, setconfig FROM pg_catalog.pg_db_role_setting JOIN pg_catalog.pg_database d
      ON d.oid = setdatabase, pg_catalog.unnest(setconfig) AS one WHERE setrole = 0 AND one LIKE '{fence}=%' LOOP
    IF NOT '{fence}=' || {token} = ANY (each.setconfig) THEN RAISE EXCEPTION '{held}'; END IF;
    IF each.datname = '{maintenance}' THEN
      SELECT pg_catalog.substr(one, {skip_bound}) INTO bound FROM pg_catalog.unnest(each.setconfig) AS one
        WHERE one LIKE '{bound}=%';
      EXECUTE pg_catalog.format('ALTER DATABASE {maintenance} CONNECTION LIMIT %s', coalesce(bound, '-1')::int);
      ALTER DATABASE {maintenance} RESET {bound};
    ELSE
      EXECUTE pg_catalog.format('ALTER DATABASE %I ALLOW_CONNECTIONS true', each.datname);
    END IF;
    EXECUTE pg_catalog.format('ALTER DATABASE %I RESET {fence}', each.datname);
  END LOOP;
END $do$
"""
_END: Final = """
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
WHERE datname IS NOT NULL AND backend_type NOT IN ('walsender', 'autovacuum worker', 'autovacuum launcher')
  AND pid <> pg_catalog.pg_backend_pid() AND (datname <> 'postgres' OR NOT coalesce(
    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE oid = usesysid), true))
"""


def fence(server: Server, holder: str) -> State:
    """Fence a primary; how it stands then. May be called again. Raises `StandbyRefused` and `SourceUnreachable`."""

    def do(connection: Connection) -> State:
        if look(connection).is_standby:
            raise StandbyRefused(
                "it is a standby: there is nothing to fence",
                reason="is-standby",
                hint="Name the primary; did somebody turn the two round meanwhile?",
            )
        _run(connection, _FENCE, holder)
        until = time.monotonic() + _SESSIONS_SECONDS
        while connection.ask(_END) != [["0"]]:
            if time.monotonic() > until:
                raise StandbyRefused(
                    "sessions on the server do not end",
                    reason="sessions-stay",
                    hint="It is fenced, and what is open there may still commit: it is tried again.",
                    retry=Retry.LATER,
                )
            time.sleep(0.05)
        return look(connection)

    return server.asked(do)


def unfence(server: Server, holder: str) -> State:
    """Open a primary that a holder has fenced. May be called again. Raises `StandbyRefused` and `SourceUnreachable`."""

    def do(connection: Connection) -> State:
        _run(connection, _OPEN, holder)
        return look(connection)

    return server.asked(do)


def _run(connection: Connection, statement: str, holder: str) -> None:
    try:
        connection.ask(
            statement.format(
                lock=_LOCK,
                fence=FENCE,
                bound=_BOUND,
                held=_HELD,
                maintenance=MAINTENANCE,
                token=literal(holder),
                skip=len(FENCE) + 2,
                skip_bound=len(_BOUND) + 2,
            )
        )
    except ServerSaid as said:
        if _HELD not in said.said:
            raise
        raise StandbyRefused(
            "the server is fenced by another",
            reason="fence-held",
            hint=f"Whoever has fenced it opens it; {FENCE} in pg_db_role_setting names the holder.",
        ) from said
