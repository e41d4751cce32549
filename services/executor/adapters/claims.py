"""Claims of runs and the queue of those that wait, in Postgres.

Promise: a run has one claim, and a configuration one that is open; of an organisation's runs at most one opens the
repository at a time, and who would have to wait for that is not claimed meanwhile. The organisation that was served
longest ago comes first, and its oldest run. A worker is taken for dead only by one that could ask the database all
the time that it was silent, while connections were to be had: silence is measured by the database's own clock.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg import errors as postgres_errors

from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from services.executor.kept import KeptConfiguration
from services.executor.ports import Claim, Standing

# A worker that has not been heard of for this long is taken for dead; it beats four times as often.
SILENCE_SECONDS = 12.0
BEAT_SECONDS = 3.0

GAP_SECONDS = 5.0
"""Who has not asked the database for so long cannot tell silence from an outage, and begins to watch anew."""

TRIES = 3

# Without free connections a worker may live and be unable to say so. What a role may see of others' connections is
# their number alone.
_LOOK = """
    SELECT now(), (SELECT sum(numbackends) FROM pg_stat_database)
        >= current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
            - coalesce(current_setting('reserved_connections', true), '0')::int
"""

# SKIP LOCKED: two workers that look at the same instant take different runs instead of waiting for each other.
_TAKE = """
    WITH next AS (
        SELECT c.run_id FROM run_claims c LEFT JOIN organisation_turns t USING (organisation)
        WHERE ((c.state = 'waiting' AND NOT c.opening)
               OR (c.state <> 'done'
                   AND greatest(c.heartbeat_at, %(since)s) < now() - make_interval(secs => %(silence)s)))
          AND c.run_id <> ALL(%(aside)s)
          AND NOT EXISTS (
              SELECT FROM run_claims o
              WHERE o.organisation = c.organisation AND o.state <> 'done' AND o.opening AND o.run_id <> c.run_id)
        ORDER BY t.served_at NULLS FIRST, c.asked_at, c.run_id LIMIT 1 FOR UPDATE OF c SKIP LOCKED
    ), taken AS (
        UPDATE run_claims c
        SET state = 'running', fence = c.fence + 1, worker = %(worker)s, heartbeat_at = now(), opening = true
        FROM next WHERE c.run_id = next.run_id
        RETURNING c.run_id, c.organisation, c.correlation_id, c.traceparent, c.fence, c.fence - 1 - c.given_back,
            c.configuration_id, c.configuration_version, c.configuration
    ), turn AS (
        INSERT INTO organisation_turns (organisation, served_at) SELECT organisation, clock_timestamp() FROM taken
        ON CONFLICT (organisation) DO UPDATE SET served_at = excluded.served_at
    )
    SELECT * FROM taken
"""
_BEAT = """
    UPDATE run_claims c SET heartbeat_at = now() FROM unnest(%s::text[], %s::int[]) AS mine (run_id, fence)
    WHERE c.run_id = mine.run_id AND c.fence = mine.fence AND c.state = 'running' RETURNING c.run_id, c.cancelled
"""
_OPENED = "UPDATE run_claims SET opening = false WHERE run_id = %s AND fence = %s AND state = 'running'"
# Whose opening was left behind in a thread may be at it until his process has ended: the run waits as for a silent one.
RELEASE = """
    UPDATE run_claims SET state = 'waiting', given_back = given_back + 1, opening = opening AND %(is_left)s,
        heartbeat_at = CASE WHEN opening AND %(is_left)s THEN now() END
    WHERE run_id = %(run)s AND fence = %(fence)s AND state = 'running'
"""
CLOSE = """
    UPDATE run_claims SET state = 'done', opening = false, configuration = NULL
    WHERE run_id = %s AND fence = %s AND state = 'running'
"""
# Whoever opens the repository has to let go of it first, and of a silent one nobody knows whether he has.
CANCEL = """
    UPDATE run_claims SET cancelled = true, state = CASE WHEN opening THEN state ELSE 'done' END,
        configuration_id = NULL, configuration = NULL
    WHERE run_id = %s AND state <> 'done'
"""
_STANDING = """
    SELECT (SELECT run_id FROM run_claims WHERE configuration_id = %(configuration)s AND state <> 'done'),
        count(*) FILTER (WHERE organisation = %(organisation)s), count(*)
    FROM run_claims WHERE state = 'waiting'
"""

_FIGURES = """
    SELECT count(*) FILTER (WHERE state = 'waiting'),
        extract(epoch FROM min(asked_at) FILTER (WHERE state = 'waiting')), count(*) FILTER (WHERE state = 'running')
    FROM run_claims WHERE state <> 'done'
"""


class ClaimTable:
    """`Claims` in Postgres. One object per worker: it remembers since when it has been watching without a gap.

    `beats` is a pool of one connection that nothing else uses, so that heartbeats wait for nobody.
    """

    def __init__(
        self,
        pool: Pool,
        beats: Pool,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        gap_seconds: float = GAP_SECONDS,
    ) -> None:
        self._pool = pool
        self._beats = beats
        self._silence_seconds = silence_seconds
        self._gap = timedelta(seconds=gap_seconds)
        self._since: datetime | None = None
        self._looked_at: datetime | None = None

    async def take(self, worker: str, *, aside: Collection[str] = ()) -> Claim | None:
        """Claim the next run, or one whose worker has fallen silent. See `Claims.take`."""
        async with self._watching(self._pool) as (connection, since):
            row = await self._next(connection, worker, since, list(aside))
        return None if row is None else _claim(worker, *row)

    @asynccontextmanager
    async def _watching(self, pool: Pool) -> AsyncIterator[tuple[psycopg.AsyncConnection[Any], datetime]]:
        """A connection, and since when silence would have been heard, by the database's clock.

        Heartbeats look as well: a worker that is busy for hours goes on watching.
        """
        try:
            with translated():
                async with pool.connection() as connection:
                    now, is_full = (await (await connection.execute(_LOOK)).fetchall())[0]
                    looked_at, self._looked_at = self._looked_at, now
                    since = self._since
                    if since is None or is_full or looked_at is None or now - looked_at > self._gap:
                        since = self._since = now
                    yield connection, since
        except BaseException:
            # What cannot be asked for cannot be taken for silent.
            self._since = None
            raise

    async def _next(
        self, connection: psycopg.AsyncConnection[Any], worker: str, since: datetime, aside: list[str]
    ) -> tuple[Any, ...] | None:
        parameters = {"worker": worker, "since": since, "silence": self._silence_seconds, "aside": aside}
        for _ in range(TRIES):
            try:
                return await (await connection.execute(_TAKE, parameters)).fetchone()
            except postgres_errors.UniqueViolation:
                continue  # Another worker took a run of the same organisation at this instant.
        return None

    async def beat(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Say that the worker lives; the runs that are still its own, and were not cancelled."""
        runs, fences = [claim.run_id for claim in claims], [claim.fence for claim in claims]
        async with self._watching(self._beats) as (connection, _):
            rows = await (await connection.execute(_BEAT, (runs, fences))).fetchall()
        return frozenset(run_id for run_id, is_cancelled in rows if not is_cancelled)

    async def opened(self, claim: Claim) -> bool:
        """Let others of the organisation open the repository. False: the claim is another's."""
        return await self._change(_OPENED, claim)

    async def release(self, claim: Claim, *, is_left: bool = False) -> None:
        """Give the run back unfinished. See `Claims.release`."""
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(RELEASE, release_of(claim, is_left=is_left))

    async def close(self, claim: Claim) -> bool:
        """Let nobody take the run again."""
        return await self._change(CLOSE, claim)

    async def _change(self, query: Any, claim: Claim) -> bool:
        with translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(query, (claim.run_id, claim.fence))
                return cursor.rowcount == 1


class ClaimQueue:
    """`Queue` in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> list[Metric]:
        """The queue's figures, of all organisations (see `chassis.telemetry.figures`)."""
        with translated():
            async with self._pool.connection() as connection:
                ((waiting, oldest, running),) = await (await connection.execute(_FIGURES)).fetchall()
        families = [
            GaugeMetricFamily("wedsync_queue_waiting_runs", "Runs that wait for a worker.", waiting),
            GaugeMetricFamily("wedsync_queue_claimed_runs", "Runs that a worker has claimed.", running),
        ]
        if oldest is not None:
            families.append(
                GaugeMetricFamily(
                    "wedsync_queue_oldest_timestamp_seconds", "Since when the oldest of them waits.", float(oldest)
                )
            )
        return list(families)

    async def standing(self, *, configuration_id: str, organisation: str) -> Standing:
        """What a request would queue up behind."""
        parameters = {"configuration": configuration_id, "organisation": organisation}
        with translated():
            async with self._pool.connection() as connection:
                ((open_run, waiting, in_all),) = await (await connection.execute(_STANDING, parameters)).fetchall()
        return Standing(open_run=open_run, waiting_of_organisation=waiting, waiting_in_all=in_all)


def release_of(claim: Claim, *, is_left: bool) -> dict[str, object]:
    """The parameters of `RELEASE`."""
    return {"run": claim.run_id, "fence": claim.fence, "is_left": is_left}


def _claim(
    worker: str,
    run_id: str,
    organisation: str,
    correlation_id: str,
    traceparent: str | None,
    fence: int,
    silenced: int,
    configuration_id: str | None,
    version: int | None,
    body: bytes | None,
) -> Claim:
    accepted = None
    if configuration_id is not None and version is not None and body is not None:
        # Read by who performs the run: whatever is wrong with it ends that run, and none is claimed in vain.
        accepted = KeptConfiguration(
            configuration_id=configuration_id, organisation=organisation, version=version, body=bytes(body)
        )
    return Claim(
        run_id=run_id,
        organisation=organisation,
        correlation_id=correlation_id,
        traceparent=traceparent,
        worker=worker,
        fence=fence,
        silenced=silenced,
        configuration=accepted,
    )
