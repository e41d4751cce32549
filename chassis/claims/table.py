"""Claims, and the queue of the work that waits, in Postgres.

Promise: a piece of work has one claim, and a subject one that is open; of an organisation's claims at most one is
opening at a time, and what would have to wait for that is not claimed meanwhile. The organisation that was served
longest ago comes first, and of its work what is urgent, the oldest of that. A worker is taken for dead only by one that
could ask the database all the time that it was silent, while connections were to be had: silence is measured by the
database's own clock. Where that is put back, what it said before is not waited for: watching begins anew, a heartbeat
far ahead of it counts for nothing, and turns go on in their order.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
from prometheus_client.core import GaugeMetricFamily, Metric
from psycopg import errors as postgres_errors

from chassis.claims.port import Claim, Standing
from chassis.claims.work import Bounds, Work
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.statements import Statement
from contracts.errors import ErrorCode

SILENCE_SECONDS = 12.0
SURE_PART = 0.8
"""Of the silence: so long after it was heard of a claim is surely nobody else's."""
"""A worker that has not been heard of for this long is taken for dead."""
BEAT_SECONDS = 0.75
"""Far more often than silence needs: a heartbeat finds what was cancelled where the message that told of it was lost,
and with the second that a call has to end by itself the work is left within two (`chassis.life.blocking`)."""

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

# SKIP LOCKED: two workers that look at the same instant take different work instead of waiting for each other.
# What is full is found once, and not for each piece of work that waits.
_TAKE: LiteralString = """
    WITH held AS MATERIALIZED (
        SELECT o.organisation, o.places FROM {claims} o
        WHERE o.state = 'running'
            AND greatest(CASE WHEN o.heartbeat_at < now() + make_interval(secs => %(silence)s)
                         THEN o.heartbeat_at END, %(since)s) >= now() - make_interval(secs => %(silence)s)
    ), full_places AS MATERIALIZED (
        SELECT coalesce(array_agg(place), ARRAY[]::text[]) AS names FROM (
            SELECT place FROM held, unnest(held.places) AS place GROUP BY place
            HAVING count(*) >= (%(per_kind)s::jsonb ->> split_part(place, ':', 1))::int) AS counted
    ), next AS (
        SELECT c.{id} FROM {claims} c LEFT JOIN {turns} t USING (organisation)
        WHERE ((c.state = 'waiting' AND NOT c.opening)
               OR (c.state <> 'done'
                   AND greatest(CASE WHEN c.heartbeat_at < now() + make_interval(secs => %(silence)s)
                                THEN c.heartbeat_at END, %(since)s) < now() - make_interval(secs => %(silence)s)))
          AND c.{id} <> ALL(%(aside)s)
          AND NOT EXISTS (
              SELECT FROM {claims} o
              WHERE o.organisation = c.organisation AND o.state <> 'done' AND o.opening AND o.{id} <> c.{id})
          AND (c.place IS NULL OR %(per_place)s > (
              SELECT count(*) FROM {claims} o WHERE o.organisation = c.organisation AND o.place = c.place
                  AND o.state = 'running' AND o.{id} <> c.{id}))
          AND NOT c.places && (SELECT names FROM full_places)
          AND c.organisation NOT IN (
              SELECT organisation FROM held GROUP BY organisation HAVING count(*) >= %(per_organisation)s::int)
        ORDER BY t.served_at NULLS FIRST, c.is_urgent DESC, c.asked_at, c.{id} LIMIT 1 FOR UPDATE OF c SKIP LOCKED
    ), taken AS (
        UPDATE {claims} c
        SET state = 'running', fence = c.fence + 1, worker = %(worker)s, heartbeat_at = now(), opening = true,
            told_code = NULL, told_at = NULL
        FROM next WHERE c.{id} = next.{id}
        RETURNING c.{id}, c.organisation, c.correlation_id, c.traceparent, c.fence, c.fence - 1 - c.given_back,
            c.troubles, c.{subject}, c.{body}
    ), turn AS (
        INSERT INTO {turns} (organisation, served_at)
        SELECT organisation,
            greatest(clock_timestamp(), (SELECT max(served_at) FROM {turns}) + interval '1 microsecond') FROM taken
        ON CONFLICT (organisation) DO UPDATE SET served_at = excluded.served_at
    )
    SELECT * FROM taken
"""
_BEAT: LiteralString = """
    UPDATE {claims} c SET heartbeat_at = now() FROM unnest(%s::text[], %s::int[]) AS mine ({id}, fence)
    WHERE c.{id} = mine.{id} AND c.fence = mine.fence AND c.state = 'running' RETURNING c.{id}, c.cancelled
"""
_PRESENT: LiteralString = """
    INSERT INTO {workers} (worker, code) VALUES (%s, %s)
    ON CONFLICT (worker) DO UPDATE SET looked_at = now(), code = excluded.code
"""
_OPENED: LiteralString = "UPDATE {claims} SET opening = false WHERE {id} = %s AND fence = %s AND state = 'running'"
_STANDING: LiteralString = """
    SELECT (SELECT {id} FROM {claims} WHERE {subject} = %(subject)s AND state <> 'done'),
        count(*) FILTER (WHERE organisation = %(organisation)s), count(*)
    FROM {claims} WHERE state = 'waiting'
"""
# What was asked for later than it is now was so by a clock that was put back since.
_LATEST: LiteralString = """
    SELECT {id} FROM {claims} WHERE {subject} = %s AND asked_at <= now() ORDER BY asked_at DESC LIMIT 1
"""

_FIGURES: LiteralString = """
    SELECT count(*) FILTER (WHERE state = 'waiting'),
        extract(epoch FROM min(asked_at) FILTER (WHERE state = 'waiting')), count(*) FILTER (WHERE state = 'running')
    FROM {claims} WHERE state <> 'done'
"""

_TAKEN = (
    *("work_id", "organisation", "correlation_id", "traceparent", "fence", "silenced", "troubles", "subject", "body"),
)
"""What `_TAKE` tells, in a claim's words."""


class ClaimTable:
    """`Claims` in Postgres. One object per worker: it remembers since when it has been watching without a gap.

    `beats` is a pool of one connection that nothing else uses, so that heartbeats wait for nobody.
    """

    def __init__(
        self,
        work: Work,
        pool: Pool,
        beats: Pool,
        *,
        bounds: Bounds | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        gap_seconds: float = GAP_SECONDS,
    ) -> None:
        self._work = work
        self._bounds = bounds or Bounds()
        self._pool = pool
        self._beats = beats
        self._silence_seconds = silence_seconds
        self._gap = timedelta(seconds=gap_seconds)
        self._since: datetime | None = None
        self._looked_at: datetime | None = None
        self._heard: dict[tuple[str, int], float] = {}
        self.freed = asyncio.Event()

    async def take(self, worker: str, *, aside: Collection[str] = ()) -> Claim | None:
        """Claim the next work, or that of a worker who has fallen silent. See `Claims.take`."""
        asked_at = time.monotonic()
        async with self._watching(self._pool) as (connection, since):
            row = await self._next(connection, worker, since, list(aside))
        if row is None:
            return None
        claim = Claim(**dict(zip(_TAKEN, row, strict=True)), worker=worker)
        self._heard[claim.work_id, claim.fence] = asked_at
        return claim

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
                    if since is None or is_full or looked_at is None or not timedelta() <= now - looked_at <= self._gap:
                        since = self._since = now
                    yield connection, since
        except BaseException:
            # What cannot be asked for cannot be taken for silent.
            self._since = None
            raise

    async def _next(
        self, connection: psycopg.AsyncConnection[Any], worker: str, since: datetime, aside: list[str]
    ) -> tuple[Any, ...] | None:
        times = {"since": since, "silence": self._silence_seconds}
        bounds = {
            "per_place": self._bounds.per_place,
            "per_organisation": self._bounds.per_organisation,
            "per_kind": json.dumps(dict(self._bounds.per_kind)),
        }
        parameters = {"worker": worker, **times, "aside": aside, **bounds}
        for _ in range(TRIES):
            try:
                return await (await connection.execute(self._work.sql(_TAKE), parameters)).fetchone()
            except postgres_errors.UniqueViolation:
                continue  # Another worker took work of the same organisation at this instant.
        return None

    async def beat(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Say that the worker lives. See `Claims.beat`."""
        ids, fences = [claim.work_id for claim in claims], [claim.fence for claim in claims]
        asked_at = time.monotonic()
        async with self._watching(self._beats) as (connection, _):
            rows = await (await connection.execute(self._work.sql(_BEAT), (ids, fences))).fetchall()
        own = frozenset(work_id for work_id, is_cancelled in rows if not is_cancelled)
        for claim in claims:
            if claim.work_id in own:
                self._heard[claim.work_id, claim.fence] = asked_at
            else:
                self._heard.pop((claim.work_id, claim.fence), None)
        return own

    def is_sure(self, claim: Claim) -> bool:
        """Whether it was heard of so lately that nobody can have taken it. See `Claims.is_sure`."""
        heard_at = self._heard.get((claim.work_id, claim.fence))
        return heard_at is not None and time.monotonic() - heard_at < SURE_PART * self._silence_seconds

    async def present(self, worker: str, lack: ErrorCode | None) -> None:
        """Say that the worker looks for work, or not. See `Claims.present`."""
        with translated():
            async with self._beats.connection() as connection:
                await connection.execute(self._work.sql(_PRESENT), (worker, lack.code if lack else None))

    async def opened(self, claim: Claim) -> bool:
        """Let others of the organisation be taken. See `Claims.opened`."""
        return await self._change(Statement(self._work.sql(_OPENED), (claim.work_id, claim.fence)))

    async def release(self, claim: Claim, *, is_left: bool = False, in_trouble: bool = False) -> None:
        """Give the work back unfinished. See `Claims.release`."""
        self._heard.pop((claim.work_id, claim.fence), None)
        await self._change(self._work.released(claim, is_left=is_left, in_trouble=in_trouble))

    async def close(self, claim: Claim) -> bool:
        """Let nobody take the work again."""
        self._heard.pop((claim.work_id, claim.fence), None)
        return await self._change(self._work.closed(claim))

    async def _change(self, statement: Statement) -> bool:
        with translated():
            async with self._pool.connection() as connection:
                is_changed = (await connection.execute(statement.query, statement.parameters)).rowcount == 1
        if is_changed:
            self.freed.set()  # Others of the organisation, or of the subject, waited for that.
        return is_changed


class ClaimQueue:
    """`Queue` in Postgres."""

    def __init__(self, work: Work, pool: Pool) -> None:
        self._work = work
        self._pool = pool

    async def read(self) -> list[Metric]:
        """The queue's figures, of all organisations (see `chassis.telemetry.figures`)."""
        with translated():
            async with self._pool.connection() as connection:
                ((waiting, oldest, running),) = await (await connection.execute(self._work.sql(_FIGURES))).fetchall()
        noun = self._work.noun
        some = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
        named = some.capitalize()
        families = [
            GaugeMetricFamily(f"wedsync_queue_waiting_{some}", f"{named} that wait for a worker.", waiting),
            GaugeMetricFamily(f"wedsync_queue_claimed_{some}", f"{named} that a worker has claimed.", running),
        ]
        if oldest is not None:
            # That of runs was there before there was other work.
            of = "" if noun == "run" else f"{some}_"
            name = f"wedsync_queue_oldest_{of}timestamp_seconds"
            families.append(GaugeMetricFamily(name, "Since when the oldest of them waits.", float(oldest)))
        return list(families)

    async def standing(self, *, subject: str, organisation: str) -> Standing:
        """What a request would queue up behind."""
        query, parameters = self._work.sql(_STANDING), {"subject": subject, "organisation": organisation}
        with translated():
            async with self._pool.connection() as connection:
                ((open_work, waiting, in_all),) = await (await connection.execute(query, parameters)).fetchall()
        return Standing(open_work=open_work, waiting_of_organisation=waiting, waiting_in_all=in_all)

    async def latest(self, subject: str) -> str | None:
        """See `Queue.latest`."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(self._work.sql(_LATEST), (subject,))).fetchone()
        return None if row is None else str(row[0])
