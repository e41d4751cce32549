"""The executor's own tables: copies of configurations, claims and reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import psycopg
from blake3 import blake3

from chassis import eventstore
from chassis.context import Context
from chassis.eventstore import EventStore, Statement
from chassis.pool import Pool
from chassis.postgres import translated
from chassis.sealing import Sealer
from contracts.configuration import ConfigurationBody
from services.executor.ports import Claim, Handled, Replica

# A worker that has not been heard of for this long is taken for dead; it beats four times as often.
SILENCE_SECONDS = 12.0
BEAT_SECONDS = 3.0

LOCK_PAUSE_SECONDS = 0.1
"""How often somebody who waits for a repository looks whether it is free."""

REPORT_FIELD = "run.report"

_KEEP_REPLICA = """
    INSERT INTO configuration_replicas (configuration_id, organisation, version, body) VALUES (%s, %s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET version = excluded.version, body = excluded.body
    WHERE configuration_replicas.version < excluded.version
"""
_FIND_REPLICA = "SELECT organisation, version, body FROM configuration_replicas WHERE configuration_id = %s"

# SKIP LOCKED: two workers that look at the same instant take different runs instead of waiting for each other.
# While the server was away nobody could be heard: silence counts from its start.
_TAKE = """
    UPDATE run_claims SET state = 'running', fence = fence + 1, worker = %(worker)s, heartbeat_at = now()
    WHERE run_id = (
        SELECT run_id FROM run_claims
        WHERE state = 'waiting'
           OR (state = 'running'
               AND greatest(heartbeat_at, pg_postmaster_start_time()) < now() - make_interval(secs => %(silence)s))
        ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING run_id, organisation, correlation_id, traceparent, fence, fence - 1 - given_back
"""
_BEAT = "UPDATE run_claims SET heartbeat_at = now() WHERE run_id = %s AND fence = %s AND state = 'running'"
_RELEASE = """
    UPDATE run_claims SET state = 'waiting', heartbeat_at = NULL, given_back = given_back + 1
    WHERE run_id = %s AND fence = %s AND state = 'running'
"""
_CLOSE = "UPDATE run_claims SET state = 'done' WHERE run_id = %s AND fence = %s AND state = 'running'"
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('repository of ' || %s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('repository of ' || %s, 0))"
_KEEP_REPORT = """
    INSERT INTO run_reports (run_id, organisation, digest, body) VALUES (%s, %s, %s, %s)
    ON CONFLICT (run_id) DO UPDATE SET digest = excluded.digest, body = excluded.body
"""


class ReplicaTable:
    """`Configurations` in Postgres."""

    def __init__(self, pool: Pool, store: EventStore) -> None:
        self._pool = pool
        self._store = store

    async def find(self, configuration_id: str) -> Replica | None:
        """The newest version seen here, or None."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_FIND_REPLICA, (configuration_id,))).fetchone()
        if row is None:
            return None
        organisation, version, body = row
        return Replica(
            configuration_id=configuration_id,
            organisation=organisation,
            version=version,
            body=msgspec.json.decode(bytes(body), type=ConfigurationBody),
        )

    async def remember(self, replica: Replica, *, context: Context, handled: Handled) -> None:
        """Keep a version with the inbox row of the fact that told of it; an older one changes nothing."""
        parameters = (
            replica.configuration_id,
            replica.organisation,
            replica.version,
            msgspec.json.encode(replica.body),
        )
        await self._store.save(
            context=context,
            handled=eventstore.Handled(handled.consumer, handled.event_id),
            also=[Statement(_KEEP_REPLICA, parameters, name="keep-replica")],
        )


class ClaimTable:
    """`Claims` in Postgres."""

    def __init__(self, pool: Pool, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._pool = pool
        self._silence_seconds = silence_seconds

    async def take(self, worker: str) -> Claim | None:
        """Claim the run that has waited longest, or one whose worker has fallen silent."""
        with translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_TAKE, {"worker": worker, "silence": self._silence_seconds})
                row = await cursor.fetchone()
        if row is None:
            return None
        run_id, organisation, correlation_id, traceparent, fence, silenced = row
        return Claim(
            run_id=run_id,
            organisation=organisation,
            correlation_id=correlation_id,
            traceparent=traceparent,
            worker=worker,
            fence=fence,
            silenced=silenced,
        )

    async def beat(self, claim: Claim) -> bool:
        """Say that the worker lives. False: the claim is another's."""
        return await self._change(_BEAT, claim)

    async def release(self, claim: Claim) -> None:
        """Give the run back unfinished."""
        await self._change(_RELEASE, claim)

    async def close(self, claim: Claim) -> bool:
        """Let nobody take the run again."""
        return await self._change(_CLOSE, claim)

    @asynccontextmanager
    async def alone_with_repository(self, organisation: str) -> AsyncIterator[None]:
        """Be the only one who opens, and perhaps creates, an organisation's repository."""
        # A lock of the session, asked for again and again: tiers that are away are waited for longer than a
        # transaction may be idle, and the next run waits for all of that, longer than for any row.
        with translated():
            async with self._pool.connection() as connection:
                while not await _locked(connection, organisation):  # noqa: ASYNC110  # another process lets go
                    await asyncio.sleep(LOCK_PAUSE_SECONDS)
                try:
                    yield
                finally:
                    await _unlock(connection, organisation)

    async def _change(self, query: Any, claim: Claim) -> bool:
        with translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query, (claim.run_id, claim.fence))
                return cursor.rowcount == 1


async def _locked(connection: psycopg.AsyncConnection[Any], organisation: str) -> bool:
    rows = await (await connection.execute(_TRY_LOCK, (organisation,))).fetchall()
    return bool(rows[0][0])


async def _unlock(connection: psycopg.AsyncConnection[Any], organisation: str) -> None:
    """Let go for certain: a lock that went back to the pool with its connection would be held for ever."""
    done = False
    try:
        await connection.execute(_UNLOCK, (organisation,))
        done = True
    except psycopg.Error:
        pass  # The session has ended, and its lock with it.
    finally:
        if not done:
            await connection.close()


class SealedReports:
    """`Reports` in Postgres, sealed under the organisation's key, since they name files."""

    def __init__(self, pool: Pool, sealer: Sealer) -> None:
        self._pool = pool
        self._sealer = sealer

    async def keep(self, run_id: str, organisation: str, report: bytes) -> str:
        """Store a report; returns the BLAKE3 digest of its bytes in hex."""
        digest = blake3(report).hexdigest()
        sealed = msgspec.json.encode(self._sealer.seal(organisation, REPORT_FIELD, report.decode()))
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(_KEEP_REPORT, (run_id, organisation, digest, sealed))
        return digest
