"""What the read models and the registry show of a page of plans, for their readiness."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

from chassis.locations import Locations
from gateway.groups.disaster_recovery.predicted import RUNS_MAX
from gateway.groups.disaster_recovery.projection import ExecutionView, execution_view
from gateway.groups.disaster_recovery.readiness import Seen, status_of
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, PlanStatus
from gateway.reading.slices import Reading
from gateway.runs.proven import HARMED

_CONFIGURATIONS: LiteralString = f"""
    SELECT c.configuration_id, c.state, (
        SELECT p.completed_at - make_interval(secs => coalesce((p.fact->>'seconds')::float8, 0)) FROM recovery_points p
        WHERE p.organisation = c.organisation AND p.configuration_id = c.configuration_id AND p.gone_at IS NULL
            AND NOT {HARMED}
        ORDER BY p.completed_at DESC, p.recovery_point_id DESC LIMIT 1),
        (SELECT CASE WHEN {HARMED} THEN p.recovery_point_id END FROM recovery_points p
        WHERE p.organisation = c.organisation AND p.configuration_id = c.configuration_id AND p.gone_at IS NULL
        ORDER BY p.completed_at DESC, p.recovery_point_id DESC LIMIT 1)
    FROM configurations c WHERE c.organisation = %s AND c.configuration_id = ANY(%s)
"""  # noqa: S608  # of this program's own words
"""With the newest point that is not known to be damaged, and the newest of all where that is."""
_POINTS: LiteralString = f"""
    SELECT p.recovery_point_id, {HARMED} FROM recovery_points p
    WHERE p.organisation = %s AND p.recovery_point_id = ANY(%s) AND p.gone_at IS NULL
"""  # noqa: S608  # of this program's own words
_CHANNELS: LiteralString = """
    SELECT channel_id FROM notification_channels
    WHERE organisation = %s AND channel_id = ANY(%s) AND state = 'active'
"""
_ENDED: LiteralString = """
    SELECT DISTINCT ON (plan_id) plan_id, view::text FROM dr_executions
    WHERE organisation = %s AND plan_id = ANY(%s) AND state = ANY(%s)
    ORDER BY plan_id, finished_at DESC, execution_id DESC
"""
_MEASURED: LiteralString = """
    SELECT plan_id, view::text FROM (
        SELECT plan_id, view,
            row_number() OVER (PARTITION BY plan_id ORDER BY finished_at DESC, execution_id DESC) AS place
        FROM dr_executions WHERE organisation = %s AND plan_id = ANY(%s) AND state = ANY(%s)
    ) x WHERE place <= %s ORDER BY plan_id, place
"""
_TESTED: LiteralString = """
    SELECT plan_id, max(finished_at) FROM dr_executions
    WHERE organisation = %s AND plan_id = ANY(%s) AND is_test AND state = ANY(%s) GROUP BY plan_id
"""
_COMPLETED, _FAILED = "completed", "failed"


async def statuses(
    reading: Reading, locations: Locations, organisation: str, plans: Sequence[DisasterRecoveryPlan], now: datetime
) -> list[PlanStatus]:
    """How plans stand. Raises LOCATIONS_UNREADABLE."""
    steps = [step for plan in plans for step in plan.procedures]
    targets = {step.target_location for step in steps if step.target_location is not None}
    closed = await locations.not_open([(name, "target") for name in sorted(targets)], organisation)
    configurations = list({each for plan in plans for each in plan.scope.configuration_ids})
    points = list({step.recovery_point_id for step in steps if step.recovery_point_id is not None})
    told = {each for plan in plans for each in plan.notifications.channel_ids}
    channels = list(told | {each for step in steps for each in step.channel_ids})
    of = [plan.id for plan in plans]
    async with reading(organisation) as database:

        async def executions(query: LiteralString, *states: str, more: tuple[int, ...] = ()) -> list[Any]:
            return await (await database.execute(query, (organisation, of, list(states), *more))).fetchall()

        ended = await executions(_ENDED, _COMPLETED, _FAILED)
        completed = await executions(_MEASURED, _COMPLETED, more=(RUNS_MAX,))
        tested = await executions(_TESTED, _COMPLETED, _FAILED)
        found = await (await database.execute(_CONFIGURATIONS, (organisation, configurations))).fetchall()
        there = await (await database.execute(_POINTS, (organisation, points))).fetchall()
        active = await (await database.execute(_CHANNELS, (organisation, channels))).fetchall()
    runs: dict[str, list[ExecutionView]] = {}
    for identity, view in completed:
        runs.setdefault(identity, []).append(execution_view(view))
    seen = Seen(
        states={identity: state for identity, state, _, _ in found},
        latest={identity: made for identity, _, made, _ in found if made is not None},
        points={identity for identity, _ in there},
        passed_over={identity: point for identity, _, _, point in found if point is not None},
        harmed={identity for identity, is_harmed in there if is_harmed},
        channels={identity for (identity,) in active},
        closed=set(closed),
        ended={identity: execution_view(view) for identity, view in ended},
        completed=runs,
        tested_at=dict(tested),
    )
    return [status_of(plan, seen, now) for plan in plans]
