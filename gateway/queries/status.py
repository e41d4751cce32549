"""The state of an organisation's backups at a glance.

3-2-1-1-0, as it is judged here, for each configuration and its latest recovery point: 3 copies (the source and two
tiers), on 2 kinds of media (location kinds of source and tiers), 1 of them offsite (any tier but the local one), 1 that
cannot be altered (a tier with an object lock), 0 errors (the latest run that ended was complete, not degraded, and
every tier that holds it was read back).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import IsolationLevel

from chassis.clock import Clock
from chassis.locations import Locations
from contracts.configuration import ConfigurationBody, Tier
from gateway.projections.applied import Database
from gateway.projections.executions import EXECUTION_DECODER, RUNS_DECODER
from gateway.projections.views import RunsView
from gateway.queries.configurations import health_of
from gateway.resources import (
    ConfigurationHealth,
    ConfigurationTotals,
    ExecutionState,
    LastDay,
    Queue,
    Rule,
    RunCounts,
    RunningExecution,
    Status,
    TierHealth,
    TierVerdict,
    Unprotected,
    Verdict,
)

RUNNING_SHOWN = 50
COPIES_MIN = 3
MEDIA_MIN = 2

_BODY = msgspec.json.Decoder(ConfigurationBody)
_COUNTS = "SELECT state, runs FROM execution_counts WHERE organisation = %s"
_RUNNING = """
    SELECT view::text FROM executions WHERE organisation = %s AND finished_at IS NULL ORDER BY accepted_at LIMIT %s
"""
_WAITING = """
    SELECT min(accepted_at) FROM executions
    WHERE organisation = %s AND finished_at IS NULL AND state = 'initializing'
"""
_LAST_DAY = """
    SELECT state, degraded, count(*), coalesce(sum(files), 0)::bigint, coalesce(sum(source_bytes), 0)::bigint,
           coalesce(sum(new_bytes), 0)::bigint, coalesce(sum(stored_bytes), 0)::bigint
    FROM executions WHERE organisation = %s AND finished_at > %s GROUP BY state, degraded
"""
_CONFIGURATIONS = """
    SELECT c.configuration_id, c.created_at, c.body::text, r.view::text
    FROM configurations c LEFT JOIN configuration_runs r USING (configuration_id) WHERE c.organisation = %s
"""


class _Configured(msgspec.Struct, frozen=True):
    configuration_id: str
    created_at: datetime
    body: ConfigurationBody
    runs: RunsView | None


async def read(database: Database, organisation: str, locations: Locations, clock: Clock) -> Status:
    """Everything at one instant of the read models."""
    now = clock.now()
    await database.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with database.transaction(), database.pipeline():
            cursors = [
                await database.execute(_COUNTS, (organisation,)),
                await database.execute(_RUNNING, (organisation, RUNNING_SHOWN)),
                await database.execute(_WAITING, (organisation,)),
                await database.execute(_LAST_DAY, (organisation, now - timedelta(hours=24))),
                await database.execute(_CONFIGURATIONS, (organisation,)),
            ]
            counts, running, waiting, day, configured = [await cursor.fetchall() for cursor in cursors]
    finally:
        await database.set_isolation_level(None)
    configurations = [
        _Configured(number, created_at, _BODY.decode(body), RUNS_DECODER.decode(runs) if runs is not None else None)
        for number, created_at, body, runs in configured
    ]
    totals = dict(counts)
    return Status(
        as_of=now,
        configurations=_totals(configurations),
        executions=RunCounts(
            initializing=totals.get("initializing", 0),
            preparing=totals.get("preparing", 0),
            backing_up=totals.get("backing_up", 0),
            verifying=totals.get("verifying", 0),
            completed=totals.get("completed", 0) + totals.get("degraded", 0),
            degraded=totals.get("degraded", 0),
            failed=totals.get("failed", 0),
        ),
        running=[_running(row[0]) for row in running],
        queue=Queue(waiting=totals.get("initializing", 0), oldest_since=waiting[0][0]),
        last24_hours=_last_day(day),
        tiers=_tiers(configurations),
        oldest_unprotected_source=_oldest(configurations),
        verdict=_verdict(configurations, organisation, locations),
    )


def _running(stored: str) -> RunningExecution:
    run = EXECUTION_DECODER.decode(stored)
    return RunningExecution(
        execution_id=run.execution_id,
        configuration_id=run.configuration_id,
        state=ExecutionState(run.state),
        started_at=run.accepted_at,
    )


def _last_day(rows: Sequence[tuple[Any, ...]]) -> LastDay:
    ended = Counter[str]()
    sums = [0, 0, 0, 0]
    for state, degraded, count, *figures in rows:
        ended[state] += count
        ended["degraded"] += count if degraded else 0
        sums = [total + figure for total, figure in zip(sums, figures, strict=True)]
    return LastDay(
        completed=ended["completed"],
        degraded=ended["degraded"],
        failed=ended["failed"],
        files=sums[0],
        source_bytes=sums[1],
        new_bytes=sums[2],
        stored_bytes=sums[3],
    )


def _totals(configurations: Sequence[_Configured]) -> ConfigurationTotals:
    health = Counter(health_of(configured.runs) for configured in configurations)
    return ConfigurationTotals(
        total=len(configurations),
        wedding_critical=sum(configured.body.is_wedding_critical for configured in configurations),
        healthy=health[ConfigurationHealth.HEALTHY],
        degraded=health[ConfigurationHealth.DEGRADED],
        failing=health[ConfigurationHealth.FAILING],
        never_run=health[ConfigurationHealth.NEVER_RUN],
    )


def _tiers(configurations: Sequence[_Configured]) -> list[TierHealth]:
    shown = []
    for tier in Tier:
        users = [c for c in configurations if tier in c.body.storage_destinations.by_tier()]
        records = [c.runs.tiers[tier] for c in users if c.runs is not None and tier in c.runs.tiers]
        behind = [
            r for r in records if r.failed_at is not None and (r.uploaded_at is None or r.failed_at > r.uploaded_at)
        ]
        uploads = [r.uploaded_at for r in records if r.uploaded_at is not None]
        failures = sorted((r.failed_at, r.code or "") for r in records if r.failed_at is not None)
        if not users:
            verdict = TierVerdict.UNUSED
        elif behind:
            verdict = TierVerdict.BEHIND if uploads else TierVerdict.FAILING
        else:
            verdict = TierVerdict.HEALTHY if uploads else TierVerdict.UNPROVEN
        shown.append(
            TierHealth(
                tier=tier,
                verdict=verdict,
                configurations=len(users),
                catch_ups_owed=len(behind),
                last_uploaded_at=max(uploads, default=None),
                last_failed_at=failures[-1][0] if failures else None,
                last_failure_code=failures[-1][1] if failures else None,
            )
        )
    return shown


def _oldest(configurations: Sequence[_Configured]) -> Unprotected | None:
    """The source that has gone longest without a recovery point; counted from its creation where it has none."""
    if not configurations:
        return None
    oldest = min(configurations, key=_protected_at)
    point = oldest.runs.recovery_point if oldest.runs is not None else None
    return Unprotected(
        configuration_id=oldest.configuration_id,
        since=_protected_at(oldest),
        last_recovery_point_at=point.completed_at if point is not None else None,
    )


def _protected_at(configured: _Configured) -> datetime:
    point = configured.runs.recovery_point if configured.runs is not None else None
    return configured.created_at if point is None else point.completed_at


def _verdict(configurations: Sequence[_Configured], organisation: str, locations: Locations) -> Verdict:
    kinds = {location.name: location.kind for location in locations.of_organisation(organisation)}
    judged = [_judge(configured, kinds) for configured in configurations]
    rules = [
        Rule(rule=name, satisfied=not failing, failing_configurations=failing)
        for name, failing in (
            (name, sum(not satisfied[index] for satisfied in judged)) for index, name in enumerate(RULES)
        )
    ]
    return Verdict(satisfied=bool(judged) and all(rule.satisfied for rule in rules), rules=rules)


RULES = ("three-copies", "two-media", "one-offsite", "one-immutable", "zero-errors")


def _judge(configured: _Configured, kinds: Mapping[str, str]) -> tuple[bool, ...]:
    runs = configured.runs
    point = runs.recovery_point if runs is not None else None
    if runs is None or point is None:
        return (False,) * len(RULES)
    destinations = configured.body.storage_destinations.by_tier()
    holding = [tier for tier in point.tiers if tier in destinations]
    media = {configured.body.source_type.value, *(kinds.get(destinations[tier].location, "") for tier in holding)}
    ended = runs.ended
    return (
        1 + len(holding) >= COPIES_MIN,
        len(media - {""}) >= MEDIA_MIN,
        any(tier is not Tier.LOCAL for tier in holding),
        any(destinations[tier].lock_days > 0 for tier in holding),
        ended is not None
        and ended.state == "completed"
        and not ended.degraded
        and set(point.tiers) <= set(point.verified),
    )
