"""The state of an organisation's backups at a glance.

3-2-1-1-0 is judged for each configuration and its latest recovery point (`gateway.runs.protection`).
A recovery point counts for what it was made with: after a change of the source it is none, of another place or a longer
lock the tier has nothing of, until a run of that version has completed. What has gone longest without a recovery point
is counted from its last good one, or from the first change since that makes that one void.

Postgres counts: configurations that say the same and stand alike are one group, and only groups are judged here, so
that the work of this process does not grow with the number of configurations.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, LiteralString

import msgspec
from psycopg import IsolationLevel

from chassis.clock import Clock
from chassis.locations import Locations
from contracts import errors
from contracts.configuration import Destination, StorageDestinations, Tier
from contracts.errors import PlatformError
from contracts.executor_events import ExecutionState
from contracts.reading import read_json
from gateway.groups.executions.resources import (
    ConfigurationTotals,
    LastDay,
    Protection,
    ProtectionRule,
    Queue,
    RunCounts,
    RunningExecution,
    Status,
    TierHealth,
    TierVerdict,
    Unprotected,
)
from gateway.projections.applied import Database
from gateway.runs.protection import RULES, judged
from gateway.runs.queries import state_of
from gateway.runs.standing import CHANGED, TIME_LENGTH, UNPROTECTED_SINCE, Standing, counted, standing_of

RUNNING_SHOWN = 50

_DESTINATIONS = msgspec.json.Decoder(StorageDestinations)
_COUNTS = "SELECT state, runs FROM execution_counts WHERE organisation = %s"
_RUNNING = """
    SELECT execution_id, configuration_id, state, accepted_at FROM executions
    WHERE organisation = %s AND finished_at IS NULL ORDER BY accepted_at LIMIT %s
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
_STANDING: LiteralString = f"""
    SELECT c.configuration_id, c.plan, c.state, c.is_wedding_critical, c.created_at,
           r.standing, r.last_state, r.protected_at, r.made_version, {CHANGED} AS changed,
           r.uploaded_local, r.uploaded_cloud_primary, r.uploaded_cloud_secondary, r.uploaded_offsite,
           r.failure_local, r.failure_cloud_primary, r.failure_cloud_secondary, r.failure_offsite
    FROM configurations c
    LEFT JOIN configuration_runs r ON r.configuration_id = c.configuration_id AND r.organisation = c.organisation
    WHERE c.organisation = %s AND c.state <> 'retired'
"""  # noqa: S608  # of this program's own words
_GROUPS: LiteralString = f"""
    SELECT plan, standing, changed, count(*), count(*) FILTER (WHERE is_wedding_critical),
           count(*) FILTER (WHERE state = 'paused'),
           count(*) FILTER (WHERE last_state IS NOT NULL AND standing IS NULL),
           min({UNPROTECTED_SINCE}),
           max(uploaded_local), max(uploaded_cloud_primary), max(uploaded_cloud_secondary), max(uploaded_offsite),
           max(failure_local), max(failure_cloud_primary), max(failure_cloud_secondary), max(failure_offsite)
    FROM ({_STANDING}) AS c GROUP BY plan, standing, changed
"""  # noqa: S608  # of this program's own words
_OLDEST_CHANGED: LiteralString = f"""
    SELECT configuration_id FROM ({_STANDING}) AS c
    WHERE changed <> '{{}}' AND {UNPROTECTED_SINCE} = %s ORDER BY 1 LIMIT 1
"""  # noqa: S608  # of this program's own words
_OLDEST_PROTECTED = """
    SELECT r.configuration_id FROM configuration_runs r JOIN configurations c USING (configuration_id)
    WHERE r.organisation = %s AND r.protected_at = %s AND c.state <> 'retired' ORDER BY 1 LIMIT 1
"""
_OLDEST_UNPROTECTED = """
    SELECT c.configuration_id FROM configurations c LEFT JOIN configuration_runs r USING (configuration_id)
    WHERE c.organisation = %s AND c.created_at = %s AND r.protected_at IS NULL AND c.state <> 'retired'
    ORDER BY 1 LIMIT 1
"""


class _Plan(msgspec.Struct, frozen=True):
    source_type: str
    destinations: Mapping[Tier, Destination]


class _Group(msgspec.Struct, frozen=True):
    """Configurations that say the same, stand alike and have changed alike since; the latest is by the tiers' order."""

    plan: _Plan
    standing: Standing
    has_saved: bool
    number: int
    wedding_critical: int
    paused: int
    unprotected_since: datetime
    last_uploaded: Sequence[datetime | None]
    last_failure: Sequence[str | None]


async def read(database: Database, organisation: str, locations: Locations, clock: Clock) -> Status:
    """Everything at one instant of the read models. Raises UNAVAILABLE while what it needs is made anew."""
    now = clock.now()
    kinds = {location.name: location.kind for location in await locations.offered_to(organisation)}
    await database.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    try:
        async with database.transaction(), database.pipeline():
            cursors = [
                await database.execute(_COUNTS, (organisation,)),
                await database.execute(_RUNNING, (organisation, RUNNING_SHOWN)),
                await database.execute(_WAITING, (organisation,)),
                await database.execute(_LAST_DAY, (organisation, now - timedelta(hours=24))),
                await database.execute(_GROUPS, (organisation,)),
            ]
            counts, running, waiting, day, grouped = [await cursor.fetchall() for cursor in cursors]
            groups = [_group(row) for row in grouped]
            oldest = await _oldest(database, organisation, groups)
    finally:
        await database.set_isolation_level(None)
    totals = Counter(dict(counts))
    return Status(
        as_of=now,
        configurations=_totals(groups),
        executions=RunCounts(
            **{state.value: totals[state] for state in ExecutionState}
            | {"completed": totals["completed"] + totals["degraded"], "degraded": totals["degraded"]}
        ),
        running=[_running(row) for row in running],
        queue=Queue(waiting=totals["initializing"], oldest_since=waiting[0][0]),
        last24_hours=_last_day(day),
        tiers=_tiers(groups),
        oldest_unprotected_source=oldest,
        verdict=_verdict(groups, kinds),
    )


def _group(row: tuple[Any, ...]) -> _Group:
    plan, standing, changed, number, wedding_critical, paused, unknown, since, *latest = row
    if unknown:
        raise PlatformError(errors.UNAVAILABLE, "the read models are being made anew")
    tiers = len(Tier)
    known = standing_of(standing)
    return _Group(
        _plan(plan),
        counted(known, changed),
        known.held is not None,
        number,
        wedding_critical,
        paused,
        since,
        latest[:tiers],
        latest[tiers:],
    )


@lru_cache(maxsize=1024)
def _plan(stored: str) -> _Plan:
    source_type, _, destinations = stored.partition(" ")
    return _Plan(source_type, read_json(destinations, _DESTINATIONS).by_tier())


def _running(row: tuple[Any, ...]) -> RunningExecution:
    execution_id, configuration_id, state, accepted_at = row
    return RunningExecution(
        execution_id=execution_id,
        configuration_id=configuration_id,
        state=state_of(state),
        started_at=accepted_at,
    )


async def _oldest(database: Database, organisation: str, groups: Sequence[_Group]) -> Unprotected | None:
    """The source that has gone longest without a recovery point; counted from its creation where it has none."""
    oldest = min(groups, key=lambda group: group.unprotected_since, default=None)
    if oldest is None:
        return None
    since, is_protected = oldest.unprotected_since, bool(oldest.standing.held)
    query = _OLDEST_PROTECTED if is_protected else _OLDEST_UNPROTECTED
    if oldest.has_saved and not is_protected:
        query = _OLDEST_CHANGED
    ((configuration_id,),) = await (await database.execute(query, (organisation, since))).fetchall()
    return Unprotected(
        configuration_id=configuration_id, since=since, last_recovery_point_at=since if is_protected else None
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


def _totals(groups: Sequence[_Group]) -> ConfigurationTotals:
    ended = Counter[str]()
    for group in groups:
        ended[group.standing.ended] += group.number
    return ConfigurationTotals(
        total=ended.total(),
        wedding_critical=sum(group.wedding_critical for group in groups),
        healthy=ended["completed"],
        degraded=ended["degraded"],
        failing=ended["failed"],
        never_run=ended["never"],
        paused=sum(group.paused for group in groups),
    )


def _tiers(groups: Sequence[_Group]) -> list[TierHealth]:
    shown = []
    for index, tier in enumerate(Tier):
        users = [group for group in groups if tier in group.plan.destinations]
        behind = sum(group.number for group in users if tier in group.standing.behind)
        is_gone = any(tier in group.standing.gone for group in users)
        has_uploaded = any(tier in group.standing.proven for group in users)
        last_uploaded = max(filter(None, (group.last_uploaded[index] for group in users)), default=None)
        last_failure = max(filter(None, (group.last_failure[index] for group in users)), default=None)
        if not users:
            verdict = TierVerdict.UNUSED
        elif behind:
            verdict = TierVerdict.BEHIND if has_uploaded and not is_gone else TierVerdict.FAILING
        else:
            verdict = TierVerdict.HEALTHY if has_uploaded else TierVerdict.UNPROVEN
        shown.append(
            TierHealth(
                tier=tier,
                verdict=verdict,
                configurations=sum(group.number for group in users),
                catch_ups_owed=behind,
                last_uploaded_at=last_uploaded,
                last_failed_at=_time(last_failure),
                last_failure_code=None if last_failure is None else last_failure[TIME_LENGTH + 1 :],
            )
        )
    return shown


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text[:TIME_LENGTH])


def _verdict(groups: Sequence[_Group], kinds: Mapping[str, str]) -> Protection:
    failing = [0] * len(RULES)
    for group in groups:
        for index, each in enumerate(judged(group.plan.source_type, group.plan.destinations, group.standing, kinds)):
            failing[index] += 0 if each.is_kept else group.number
    rules = [
        ProtectionRule(rule=name, satisfied=not count, failing_configurations=count)
        for name, count in zip(RULES, failing, strict=True)
    ]
    return Protection(satisfied=bool(groups) and not any(failing), rules=rules)
