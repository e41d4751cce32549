"""Begins the runs that follow others by themselves, when their timers fall due.

Promise: a timer begins a run at most once, whichever replica fires it, and none beside one that is under way, nor of a
configuration that is paused, retired or unknown; none in a blackout of its schedule or outside of its window; and none
where another run came since, be it of an earlier build, which knew nothing of timers.
"""

from datetime import datetime, timedelta

from chassis.calendar.plan import Plan
from chassis.claims.port import Queue, QueueLimits
from chassis.claims.work import CLAIM
from chassis.context import Context
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, StatementRefused
from chassis.telemetry.instruments import Telemetry
from chassis.timers.loop import TimerLoop
from chassis.timers.table import Timer, TimerTable
from contracts.configuration import ConfigurationState
from contracts.executor_events import ExecutionState, ExecutionType
from contracts.schedule import Schedule
from services.executor.adapters.cleanups import RecordedCleanups, ScheduledCleanups
from services.executor.adapters.erasing.record import AGAIN, DEADLINE, RecordedErasures
from services.executor.adapters.follow_ups import FOLLOW_UP, preceding
from services.executor.adapters.holds import APPROVAL, TIER_HOLDS, RecordedApprovals
from services.executor.adapters.points import SCHEDULED, KnownToTheRecord
from services.executor.adapters.runs import RecordedRuns
from services.executor.domain import BackupRun
from services.executor.policies import when_queued
from services.executor.ports import Configurations

QUEUE_SECONDS = 60.0
"""Where the queue is full what is to follow waits outside of it."""
WINDOW_SECONDS = 300.0
"""So often is looked whether the schedule's window is open, and when it opens."""

BLACKOUT_SECONDS = 1800.0
"""So often is looked whether a blackout is one still: somebody may take it away."""


class FollowingRuns:
    """Begins them."""

    def __init__(
        self, store: EventStore, runs: RecordedRuns, configurations: Configurations, queue: Queue, limits: QueueLimits
    ) -> None:
        self._store = store
        self._runs = runs
        self._configurations = configurations
        self._queue = queue
        self._limits = limits

    async def begin(self, timer: Timer) -> None:
        """Have a run follow, or none where that is not wanted any more; a little later, where the queue is full."""
        body = preceding(timer)
        id = new_id()  # noqa: A001  # as the record calls it
        context = Context(body.organisation, "service:executor", correlation_id=id)
        before = await self._runs.find(body.run_id, body.organisation)
        replica = await self._configurations.find(timer.name)
        standing = await self._queue.standing(subject=timer.name, organisation=body.organisation)
        is_wanted = (
            before is not None
            and replica is not None
            and replica.organisation == body.organisation
            and replica.state == ConfigurationState.ACTIVE
            and standing.open_work is None
            and await self._queue.latest(timer.name) in (None, before.id)
        )
        if not is_wanted or before is None or replica is None:
            await self._store.save(context=context, also=[timer.done()])
            return
        later = kept_out_until(replica.body.schedule, timer.now)
        if later is None and when_queued(id, standing, self._limits) is not None:
            later = timer.now + timedelta(seconds=QUEUE_SECONDS)
        if later is not None:
            await self._store.save(context=context, also=[timer.moved(later)])
            return
        run = BackupRun(id)
        run.accept(
            request_id=id,
            configuration_id=timer.name,
            configuration_version=replica.version,
            execution_type=ExecutionType.RETRY if before.state == ExecutionState.FAILED else ExecutionType.CATCH_UP,
            tiers=tuple(replica.body.storage_destinations.by_tier()),
            retry_of=before.id,
            is_urgent=before.is_urgent,
            size_estimate_bytes=replica.last_source_bytes,
            follow_up=before.follow_up + 1,
            has_point=before.has_point,
            has_proven_point=before.has_proven_point,
        )
        try:
            await self._runs.record_following(run, context, replica, timer.done())
        except StatementRefused as error:
            if error.name != CLAIM:
                raise
            # Somebody's run has begun meanwhile, and says at its end what follows.
            await self._store.save(context=context, also=[timer.done()])


def kept_out_until(schedule: Schedule | None, now: datetime) -> datetime | None:
    """Until when the schedule lets nothing begin by itself: to be looked at again then."""
    if schedule is None:
        return None
    try:
        plan = Plan(schedule, seed="")
    except ValueError:
        return None  # An older build's, which rules of today do not take.
    until = plan.blackout_end(now)
    if until is not None:
        return min(until, now + timedelta(seconds=BLACKOUT_SECONDS))
    if plan.is_open(now):
        return None
    # A window may be shorter than the time between two looks.
    return min(plan.opens_after(now), now + timedelta(seconds=WINDOW_SECONDS))


def timer_loop(
    pool: Pool, store: EventStore, following: FollowingRuns, *, health: Health, telemetry: Telemetry
) -> TimerLoop:
    """What fires the timers: runs that follow, approvals that are over, tiers and holds, cleanups, erasures."""
    handlers = {
        FOLLOW_UP: following.begin,
        APPROVAL: RecordedApprovals(store).expire,
        TIER_HOLDS: RecordedCleanups(store).bring_holds,
        SCHEDULED: ScheduledCleanups(store, KnownToTheRecord(pool, store)).begin,
        AGAIN: RecordedErasures(store, pool).look_again,
        DEADLINE: RecordedErasures(store, pool).come_near,
    }
    return TimerLoop(TimerTable(pool), handlers, health=health, telemetry=telemetry)
