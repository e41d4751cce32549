"""What a retention policy would let go, as the read models know it: judged by the planner, and nothing is changed.

What the tiers alone know is said to be unknown: holds of the command line, locks that were lengthened since, and how
much space would come free. A cleanup asks them, also one with `dryRun`.
"""

import asyncio
import heapq
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, LiteralString

import msgspec

from chassis.retention.planner import judge, require_clock
from chassis.retention.points import Judgement, Point, Verdict
from chassis.retention.sources import source_of, wedding_of
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import WEDDING_DATE_FIELD, ConfigurationBody
from contracts.errors import PlatformError
from contracts.executor_events import BackupCompleted
from contracts.recovery_events import RECOVERY_ENDED
from contracts.retention import RetentionRules
from contracts.sealed import Sealed
from gateway.groups.retention.projection import policy_body
from gateway.groups.retention.resources import JudgedPoint, JudgedReason, NewPreview, RetentionPreview
from gateway.projections.applied import Database, read_view
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import SLICE, Reading
from gateway.runs.held import HoldInForce, holds_in_force

POINTS_MAX = 20_000
"""So many points are judged at once."""
UNKNOWN = (
    "Holds that were placed with the command line, and locks that were lengthened since, are known to the tiers alone.",
    "How much space comes free is known when it has: points share what they have stored.",
)
_CONFIGURATIONS: LiteralString = """
    SELECT c.configuration_id, c.body::text FROM configurations c
    WHERE c.organisation = %(organisation)s
        AND (%(policy)s::text IS NULL OR c.body ->> 'retentionPolicyId' = %(policy)s)
        AND (%(named)s::text[] IS NULL OR c.configuration_id = ANY(%(named)s))
    ORDER BY c.configuration_id
"""
_POINTS: LiteralString = """
    SELECT p.configuration_id, p.completed_at, p.fact::text, h.body::text
    FROM recovery_points p
    LEFT JOIN executions e ON e.execution_id = p.recovery_point_id
    LEFT JOIN LATERAL (
        SELECT body FROM configuration_history h
        WHERE h.configuration_id = p.configuration_id AND h.version = (e.view ->> 'configuration_version')::bigint
    ) h ON true
    WHERE p.organisation = %(organisation)s AND p.configuration_id = ANY(%(of)s) AND p.gone_at IS NULL
    LIMIT %(most)s
"""
_READERS: LiteralString = """
    SELECT recovery_point_id, operation_id FROM recovery_operations
    WHERE organisation = %s AND NOT state = ANY(%s) ORDER BY operation_id
"""
_POLICIES: LiteralString = """
    SELECT retention_policy_id, body::text FROM retention_policies
    WHERE organisation = %s AND retention_policy_id = ANY(%s)
"""
_CONFIGURATION = msgspec.json.Decoder(ConfigurationBody)
_FACT = msgspec.json.Decoder(BackupCompleted)


class _Found(msgspec.Struct, kw_only=True):
    """What the read models say, at one moment. `now`: by the database's clock."""

    now: datetime
    configurations: dict[str, ConfigurationBody]
    policies: dict[str, RetentionRules]
    rows: list[tuple[Any, ...]]
    readers: list[tuple[Any, ...]]
    holds: list[HoldInForce]


async def preview(
    reading: Reading,
    sealer: Sealer,
    organisation: str,
    wanted: NewPreview,
    rules: RetentionRules | None,
    *,
    now: datetime,
    limit: int,
    cursor: str | None,
) -> RetentionPreview:
    """Judge the points of the configurations that are meant; a page of them, the latest first.

    `rules`: of the policy that was sent. Raises CONFIGURATION_UNKNOWN, RETENTION_POLICY_UNKNOWN,
    RETENTION_CLOCK_IN_DOUBT, RETENTION_PREVIEW_TOO_LARGE, INVALID_CURSOR.
    """
    cursors = Cursors(sealer, organisation, "retention-preview", wanted)
    after = await cursors.decode(cursor)
    async with reading(organisation) as database:
        found = await _found(database, organisation, wanted)
    weddings = await _weddings(sealer, organisation, found.configurations)
    points, stored_bytes = await _points(found)
    require_clock(now, (point.at for of_one in points.values() for point in of_one), [found.now])
    instead = rules if rules is not None else found.policies.get(wanted.retention_policy_id or "")
    judged: list[Judgement] = []
    configuration_of: dict[str, str] = {}
    for configuration_id, body in found.configurations.items():
        of_policy = instead if instead is not None else found.policies.get(body.retention_policy_id or "")
        wedding = weddings.get(configuration_id, (True, None))
        source = source_of(configuration_id, body, points.get(configuration_id, []), of_policy, wedding)
        judged += judge(source, now)
        configuration_of.update((point.id, configuration_id) for point in source.points)
        await asyncio.sleep(0)  # Others have their turn.
    listed = [each for each in judged if not wanted.verdicts or each.verdict in wanted.verdicts]
    if after is not None:
        listed = [each for each in listed if (each.point.at, each.point.id) < (after.time, after.id)]
    page = heapq.nlargest(limit + 1, listed, key=lambda each: (each.point.at, each.point.id))
    last = page[limit - 1].point if len(page) > limit else None
    return RetentionPreview(
        judged_at=now,
        keep=sum(each.verdict is Verdict.KEEP for each in judged),
        wait=sum(each.verdict is Verdict.WAIT for each in judged),
        go=sum(each.verdict is Verdict.GO for each in judged),
        overdue=sum(each.is_overdue for each in judged),
        going_stored_bytes=sum(stored_bytes[each.point.id] for each in judged if each.verdict is Verdict.GO),
        freed_bytes=None,
        unknown=list(UNKNOWN),
        items=[_told(each, configuration_of[each.point.id], stored_bytes[each.point.id]) for each in page[:limit]],
        next_cursor=None if last is None else await cursors.encode(Place(last.at, last.id)),
    )


def _told(judged: Judgement, configuration_id: str, stored_bytes: int) -> JudgedPoint:
    point = judged.point
    return JudgedPoint(
        recovery_point_id=point.id,
        configuration_id=configuration_id,
        completed_at=point.at,
        verdict=judged.verdict,
        reasons=[JudgedReason(rule=each.rule, words=each.words, until=each.until) for each in judged.reasons],
        locked_until=judged.until,
        overdue=judged.is_overdue,
        stored_bytes=stored_bytes,
    )


async def _found(database: Database, organisation: str, wanted: NewPreview) -> _Found:
    named = list(wanted.configuration_ids) or None
    of_policy = wanted.retention_policy_id if named is None else None
    asked = {"organisation": organisation, "policy": of_policy, "named": named}
    rows = await (await database.execute(_CONFIGURATIONS, asked)).fetchall()
    configurations = {each: read_view(body, _CONFIGURATION, "configurations") for each, body in rows}
    for place, each in enumerate(wanted.configuration_ids):
        if each not in configurations:
            raise PlatformError(
                errors.CONFIGURATION_UNKNOWN,
                "there is no such configuration",
                field=f"configurationIds[{place}]",
            )
    policies = await _policies(database, organisation, configurations.values(), wanted.retention_policy_id)
    meant = {"organisation": organisation, "of": list(configurations), "most": POINTS_MAX + 1}
    points = await (await database.execute(_POINTS, meant)).fetchall()
    if len(points) > POINTS_MAX:
        raise PlatformError(errors.RETENTION_PREVIEW_TOO_LARGE, f"more than {POINTS_MAX} recovery points are meant")
    ended = [each.value for each in RECOVERY_ENDED]
    readers = await (await database.execute(_READERS, (organisation, ended))).fetchall()
    holds = await holds_in_force(database, organisation)
    ((now,),) = await (await database.execute("SELECT now()", ())).fetchall()
    return _Found(now=now, configurations=configurations, policies=policies, rows=points, readers=readers, holds=holds)


async def _policies(
    database: Database, organisation: str, bodies: Iterable[ConfigurationBody], wanted: str | None
) -> dict[str, RetentionRules]:
    ids = {each for body in bodies if (each := body.retention_policy_id) is not None} | ({wanted} if wanted else set())
    rows = await (await database.execute(_POLICIES, (organisation, sorted(ids)))).fetchall()
    policies: dict[str, RetentionRules] = {each: policy_body(stored) for each, stored in rows}
    if wanted is not None and wanted not in policies:
        raise PlatformError(
            errors.RETENTION_POLICY_UNKNOWN, "there is no such retention policy", field="retentionPolicyId"
        )
    return policies


async def _points(found: _Found) -> tuple[dict[str, list[Point]], dict[str, int]]:
    """The points of each configuration, and what the run of each had stored."""
    readers: dict[str, list[str]] = {}
    for point_id, operation_id in found.readers:
        readers.setdefault(point_id, []).append(f"the recovery {operation_id}")
    points: dict[str, list[Point]] = {}
    stored_bytes: dict[str, int] = {}
    versions: dict[str, ConfigurationBody] = {}
    for place, (configuration_id, completed_at, stored, body) in enumerate(found.rows):
        fact = read_view(stored, _FACT, "recovery-points")
        if body is not None and body not in versions:
            versions[body] = read_view(body, _CONFIGURATION, "configuration-history")
        at = completed_at.astimezone(UTC)
        tags = found.configurations[configuration_id].tags
        holds = [
            f"the hold {each.fact.hold_id}"
            for each in found.holds
            if each.covers(fact.execution_id, configuration_id, at, tags)
        ]
        point = _point(fact, at, versions.get(body), readers.get(fact.execution_id, ()), holds)
        points.setdefault(configuration_id, []).append(point)
        stored_bytes[point.id] = fact.totals.stored_bytes
        if place % SLICE == 0:
            await asyncio.sleep(0)
    return points, stored_bytes


def _point(
    fact: BackupCompleted,
    at: datetime,
    body: ConfigurationBody | None,
    readers: Sequence[str],
    holds: Sequence[str],
) -> Point:
    """`body`: of the version that the run was accepted with: where its tiers lay, and how long they were to lock."""
    destinations = {} if body is None else body.storage_destinations.by_tier()
    verified = [(destinations[tier].location if tier in destinations else str(tier), tier) for tier in fact.verified]
    return Point(
        id=fact.execution_id,
        at=at,
        is_proven=fact.is_proven,
        is_catch_up=fact.is_catch_up,
        places=tuple(place for place, _ in verified),
        locks=tuple(
            (place, at + timedelta(days=destinations[tier].lock_days))
            for place, tier in verified
            if tier in destinations and destinations[tier].lock_days
        ),
        readers=tuple(readers),
        holds=tuple(holds),
    )


async def _weddings(
    sealer: Sealer, organisation: str, bodies: Mapping[str, ConfigurationBody]
) -> dict[str, tuple[bool, date | None]]:
    """Of critical configurations, beside the event loop: what opens the dates lies on a disk."""
    critical = {each: body for each, body in bodies.items() if body.is_wedding_critical and body.wedding_date}

    def opened(sealed: Sealed) -> str:
        return sealer.open(organisation, WEDDING_DATE_FIELD, sealed)

    if not critical:
        return {}
    return await sealer.ask(lambda: {each: wedding_of(body, opened) for each, body in critical.items()})
