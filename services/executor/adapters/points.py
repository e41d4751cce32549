"""Recovery points and retention policies, in the executor's own tables: what a cleanup plans with.

A point is written in the transaction that ends its run, so that no plan lacks what the record has; it is marked as gone
in the transaction that tells so. Policies follow the config service's facts.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

import msgspec

from chassis.handling import Handling
from chassis.life.blocking import call_in_thread
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement
from chassis.timers.table import set_within
from contracts import errors
from contracts.cleanup_events import GoingPoint
from contracts.config_events import RetentionPolicyFact
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import SeenVersion
from contracts.reading import read_json
from contracts.recovery_events import RecoveryAccepted, RecoveryFact
from contracts.retention import RetentionPolicyBody, RetentionRules
from services.executor.adapters.holds import HoldInForce, holding, holds_in_force, released_holds, turn_of
from services.executor.kept import KeptConfiguration
from services.executor.retention.plans import Knowledge, KnownPoint

DAY_SECONDS = 86_400.0
SCHEMA: tuple[LiteralString, ...] = (
    # What runs have made that can be restored; `gone_at`: since when it cannot any more, by a cleanup.
    """CREATE TABLE recovery_points (
        recovery_point_id text PRIMARY KEY,
        organisation text NOT NULL,
        configuration_id text NOT NULL,
        snapshot_id text NOT NULL,
        at timestamptz NOT NULL,
        is_proven boolean NOT NULL,
        gone_at timestamptz
    )""",
    "CREATE INDEX recovery_points_there ON recovery_points (organisation, configuration_id) WHERE gone_at IS NULL",
    # Those of runs that ended before there was this table, from the record.
    """INSERT INTO recovery_points (recovery_point_id, organisation, configuration_id, snapshot_id, at, is_proven)
        SELECT fact #>> '{data,executionId}', fact ->> 'organisation', fact #>> '{data,configurationId}',
            fact #>> '{data,snapshotId}', (fact ->> 'time')::timestamptz,
            fact #>> '{data,code}' IS NULL AND coalesce((fact #>> '{data,totals,unreadableFiles}')::bigint, 0) = 0
                AND coalesce(fact #> '{data,verified}', '[]') <> '[]'
        FROM (SELECT convert_from(state, 'UTF8')::jsonb AS fact FROM stored_events
              WHERE topic = 'executor.backup-completed.v1') AS told
        WHERE fact #>> '{data,code}' IS DISTINCT FROM 'source-emptied'
        ON CONFLICT DO NOTHING""",
    """CREATE TABLE retention_policy_replicas (
        retention_policy_id text PRIMARY KEY,
        organisation text NOT NULL,
        version integer NOT NULL,
        body bytea NOT NULL
    )""",
)
LATER_SCHEMA: tuple[LiteralString, ...] = (
    # What reads a point, and is over: the one may be told before the other.
    """CREATE TABLE point_readers (
        operation_id text NOT NULL,
        organisation text NOT NULL,
        recovery_point_id text NOT NULL,
        is_over boolean NOT NULL,
        PRIMARY KEY (organisation, operation_id)
    )""",
    "CREATE INDEX point_readers_open ON point_readers (organisation) WHERE NOT is_over",
)
LATEST_SCHEMA: tuple[LiteralString, ...] = (
    "ALTER TABLE recovery_points ADD COLUMN is_catch_up boolean NOT NULL DEFAULT false",
)
_KEEP: LiteralString = """
    INSERT INTO recovery_points
        (recovery_point_id, organisation, configuration_id, snapshot_id, at, is_catch_up, is_proven)
    VALUES (%s, %s, %s, %s, now(), %s, %s) ON CONFLICT DO NOTHING
"""
_GONE: LiteralString = """
    UPDATE recovery_points SET gone_at = now()
    WHERE organisation = %s AND recovery_point_id = ANY(%s) AND gone_at IS NULL
"""
_KEEP_POLICY: LiteralString = """
    INSERT INTO retention_policy_replicas (retention_policy_id, organisation, version, body) VALUES (%s, %s, %s, %s)
    ON CONFLICT (retention_policy_id) DO UPDATE SET version = excluded.version, body = excluded.body
    WHERE retention_policy_replicas.version < excluded.version
"""
_READS: LiteralString = """
    INSERT INTO point_readers (operation_id, organisation, recovery_point_id, is_over) VALUES (%s, %s, %s, false)
    ON CONFLICT (organisation, operation_id) DO NOTHING
"""
_READS_NO_MORE: LiteralString = """
    INSERT INTO point_readers (operation_id, organisation, recovery_point_id, is_over) VALUES (%s, %s, '', true)
    ON CONFLICT (organisation, operation_id) DO UPDATE SET is_over = true
"""
_READERS = (
    "SELECT recovery_point_id, operation_id FROM point_readers WHERE organisation = %s AND NOT is_over ORDER BY 2"
)
_POINTS: LiteralString = """
    SELECT recovery_point_id, configuration_id, snapshot_id, at, is_proven, is_catch_up FROM recovery_points
    WHERE organisation = %(organisation)s AND gone_at IS NULL
        AND (%(of)s::text[] IS NULL OR configuration_id = ANY(%(of)s))
"""
_CONFIGURATIONS: LiteralString = """
    SELECT configuration_id, version, body FROM configuration_replicas
    WHERE organisation = %(organisation)s AND (%(of)s::text[] IS NULL OR configuration_id = ANY(%(of)s))
"""
_POLICIES = "SELECT retention_policy_id, body FROM retention_policy_replicas WHERE organisation = %s"
_NAMING: LiteralString = "SELECT configuration_id, body FROM configuration_replicas WHERE organisation = %s"
_NOW = "SELECT now(), (SELECT max(at) FROM recovery_points WHERE organisation = %s)"
_KNOWN = "SELECT configuration_id FROM configuration_replicas WHERE organisation = %s AND configuration_id = ANY(%s)"
_VERSIONS: LiteralString = """
    SELECT configuration_id, version FROM configuration_replicas
    WHERE organisation = %(organisation)s AND configuration_id = ANY(%(ids)s)
    UNION ALL
    SELECT retention_policy_id, version FROM retention_policy_replicas
    WHERE organisation = %(organisation)s AND retention_policy_id = ANY(%(ids)s)
"""
_BODY = msgspec.json.Decoder(RetentionPolicyBody)
SCHEDULED = "scheduled-cleanup"
"""Of the timers of organisations with policies that are cleaned up by themselves, by their ids."""


def kept_points(events: Iterable[Event], organisation: str) -> list[Statement]:
    """What is written beside these events of a run: the point that it has made, if any."""
    return [
        Statement(
            _KEEP,
            (
                each.execution_id,
                organisation,
                each.configuration_id,
                each.snapshot_id,
                each.is_catch_up,
                each.is_proven,
            ),
            name="keep-point",
        )
        for each in events
        if isinstance(each, BackupCompleted) and each.is_recovery_point
    ]


def gone_points(points: Sequence[GoingPoint], organisation: str) -> Statement:
    """Lets no plan see these points again."""
    return Statement(_GONE, (organisation, [each.recovery_point_id for each in points]), name="points-gone")


class _Naming(msgspec.Struct, frozen=True, rename="camel"):
    """Of a configuration's body what is looked at."""

    retention_policy_id: str | None = None


_NAMED = msgspec.json.Decoder(_Naming)


def _kept_as(body: RetentionPolicyBody) -> bytes:
    """Without what an older build does not know, where it says nothing: that one reads it after a rollback."""
    said = msgspec.to_builtins(body)
    if not body.cleanup_days:
        del said["cleanupDays"]
    return msgspec.json.encode(said)


class _Told(NamedTuple):
    """What the tables have of an organisation, at one moment, as rows."""

    organisation: str
    turn: int
    now: datetime
    newest: datetime | None
    holds: list[HoldInForce]
    released: frozenset[str]
    reading: list[tuple[Any, ...]]
    points: list[tuple[Any, ...]]
    configurations: list[tuple[Any, ...]]
    policies: list[tuple[Any, ...]]

    def read(self) -> Knowledge:
        """The same, read. Raises CONCURRENT_CHANGE: a policy has not arrived."""
        replicas = {
            each: KeptConfiguration(
                configuration_id=each, organisation=self.organisation, version=version, body=bytes(body)
            ).read()
            for each, version, body in self.configurations
        }
        rules: dict[str, RetentionRules] = {each: read_json(body, _BODY) for each, body in self.policies}
        for replica in replicas.values():
            if (named := replica.body.retention_policy_id) is not None and named not in rules:
                message = f"the retention policy {named} has not arrived here yet"
                raise PlatformError(errors.CONCURRENT_CHANGE, message, retention_policy_id=named)
        bodies = {each: replica.body for each, replica in replicas.items()}
        readers: dict[str, list[str]] = {}
        for point, operation in self.reading:
            readers.setdefault(point, []).append(f"the recovery {operation}")
        return Knowledge(
            now=self.now,
            newest=self.newest,
            points=[
                KnownPoint(
                    id=each,
                    configuration_id=of,
                    snapshot_id=snapshot,
                    at=at,
                    is_proven=is_proven,
                    is_catch_up=is_catch_up,
                    readers=tuple(readers.get(each, ())),
                    holds=holding(self.holds, each, of, at, bodies),
                )
                for each, of, snapshot, at, is_proven, is_catch_up in self.points
            ],
            configurations=bodies,
            rules=rules,
            turn=self.turn,
            released_holds=self.released,
        )


class KnownToTheRecord:
    """`Knowing` in Postgres."""

    def __init__(self, pool: Pool, store: EventStore) -> None:
        self._pool = pool
        self._store = store

    async def of(self, organisation: str, configuration_ids: Sequence[str]) -> Knowledge:
        """See `Knowing.of`."""
        asked = {"organisation": organisation, "of": list(configuration_ids) or None}
        with translated():
            async with self._pool.connection() as connection:
                # In this order: what is known of a policy is never older than the configuration that names it.
                turn = await turn_of(connection, organisation)
                holds = await holds_in_force(connection, organisation)
                released = await released_holds(connection, organisation)
                reading = await (await connection.execute(_READERS, (organisation,))).fetchall()
                points = await (await connection.execute(_POINTS, asked)).fetchall()
                configurations = await (await connection.execute(_CONFIGURATIONS, asked)).fetchall()
                policies = await (await connection.execute(_POLICIES, (organisation,))).fetchall()
                ((now, newest),) = await (await connection.execute(_NOW, (organisation,))).fetchall()
        # Off the loop: an organisation may have hundreds of thousands of points, and others are heard meanwhile.
        told = _Told(organisation, turn, now, newest, holds, released, reading, points, configurations, policies)
        return await call_in_thread(told.read)

    async def lacking(self, organisation: str, configuration_ids: Sequence[str]) -> str | None:
        """See `Knowing.lacking`."""
        with translated():
            async with self._pool.connection() as connection:
                found = await connection.execute(_KNOWN, (organisation, list(configuration_ids)))
                known = {each for (each,) in await found.fetchall()}
        return next((each for each in configuration_ids if each not in known), None)

    async def scheduled(self, organisation: str) -> tuple[list[str], int]:
        """The configurations whose policies are cleaned up by themselves, in order, and every how many days at least.

        0 days: no policy asks for it; one that no configuration names yet does.
        """
        with translated():
            async with self._pool.connection() as connection:
                policies = await (await connection.execute(_POLICIES, (organisation,))).fetchall()
                bodies = await (await connection.execute(_NAMING, (organisation,))).fetchall()
        days = {each: read_json(body, _BODY).cleanup_days for each, body in policies}
        named = {each: _NAMED.decode(bytes(body)).retention_policy_id or "" for each, body in bodies}
        scheduled = sorted(each for each, policy in named.items() if days.get(policy))
        return scheduled, min((every for every in days.values() if every), default=0)

    async def remember_reader(self, fact: RecoveryFact, handling: Handling) -> None:
        """Keep that a recovery was accepted, or is over, with the inbox row of the fact that told of it."""
        organisation = handling.context.organisation
        if isinstance(fact, RecoveryAccepted):
            reads = (fact.operation_id, organisation, fact.recovery_point_id)
            also = [Statement(_READS, reads, name="keep-reader")]
        else:
            also = [Statement(_READS_NO_MORE, (fact.operation_id, organisation), name="reader-over")]
        await self._store.save(context=handling.context, handled=handling.handled, also=also)

    async def behind(self, organisation: str, seen: Sequence[SeenVersion]) -> str | None:
        """See `Knowing.behind`."""
        asked = {"organisation": organisation, "ids": [each.id for each in seen]}
        with translated():
            async with self._pool.connection() as connection:
                here: dict[str, int] = dict(await (await connection.execute(_VERSIONS, asked)).fetchall())
        return next((each.id for each in seen if here.get(each.id, 0) < each.version), None)

    async def remember_policy(self, fact: RetentionPolicyFact, handling: Handling) -> None:
        """Keep a version, unless a newer one is here, with the inbox row of the fact that told of it."""
        values = (
            fact.retention_policy_id,
            handling.context.organisation,
            fact.version,
            _kept_as(fact.body),
        )
        also = [Statement(_KEEP_POLICY, values, name="keep-policy")]
        if fact.body.cleanup_days:
            also.append(set_within(SCHEDULED, handling.context.organisation, fact.body.cleanup_days * DAY_SECONDS))
        await self._store.save(context=handling.context, handled=handling.handled, also=also)
