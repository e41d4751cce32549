"""The record of cleanups, in the executor's event store."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.claims.port import Claim, Unclaimed
from chassis.claims.record import RecordedWork
from chassis.claims.work import CLAIM, Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.ids import new_id
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import Timer, set_within
from contracts.cleanup_events import CleanupPurpose, GoingPoint, RetentionCleanedUp
from services.executor.adapters.holds import TIER_HOLDS, going_points, stayed_points, turned
from services.executor.adapters.points import KnownToTheRecord, gone_points
from services.executor.errors import CleanupBusy
from services.executor.retention.domain import RetentionCleanup

CLEANUPS = Work(noun="cleanup", claims="cleanup_claims", turns="cleanup_turns", workers="cleanup_workers")
"""The claims of cleanups: of an organisation at most one is open."""
BESIDE_SECONDS = 30.0
AGAIN_SECONDS = 3600.0
"""So long after tiers did not all follow the holds it is tried again; a tier that is caught up gets them by that."""


CONFIGURATIONS_AT_ONCE = 3_000
"""So many configurations a scheduled cleanup names: they fit into an event. The others have the next one."""


class ScheduledCleanups:
    """Begins the cleanups that policies ask for by themselves, when their timers fall due.

    A timer's body is the last of the configurations that have had theirs this time; empty: none.
    """

    def __init__(self, store: EventStore, known: KnownToTheRecord) -> None:
        self._store = store
        self._known = known

    async def begin(self, timer: Timer) -> None:
        """Begin one; a little later beside another one, and not before its time again."""
        organisation, after = timer.name, timer.body.decode()
        scheduled, days = await self._known.scheduled(organisation)
        chosen = [each for each in scheduled if each > after][:CONFIGURATIONS_AT_ONCE]
        cleanup = RetentionCleanup(new_id())
        context = Context(organisation, "service:executor", correlation_id=cleanup.id)
        if not chosen:
            again = timer.moved(timer.now + timedelta(days=days), b"") if days else timer.done()
            await self._store.save(context=context, also=[again])
            return
        cleanup.accept_scheduled(chosen)
        await _begin(self._store, cleanup, context, timer, timer.moved(_beside(timer), chosen[-1].encode()))


class RecordedCleanups(RecordedWork[RetentionCleanup]):
    """`Cleanups` on an event store."""

    KIND = RetentionCleanup
    WORK = CLEANUPS

    async def record_accepted(self, cleanup: RetentionCleanup, handling: Handling) -> None:
        """Record that one is taken on with the inbox row and its claim."""
        claim = CLEANUPS.asked(cleanup.id, context=handling.context, subject=handling.context.organisation)
        try:
            await self._store.save(cleanup, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise CleanupBusy from error

    async def bring_holds(self, timer: Timer) -> None:
        """Have the tiers of an organisation follow its holds: a cleanup for that; a little later beside another one."""
        cleanup = RetentionCleanup(new_id())
        cleanup.accept_holds()
        context = Context(timer.name, "service:executor", correlation_id=cleanup.id)
        await _begin(self._store, cleanup, context, timer, timer.done())

    async def record_going(
        self, thing: RetentionCleanup, points: Sequence[GoingPoint], turn: int, *, context: Context
    ) -> None:
        """Record that points were decided to go, unless a hold was placed since they were looked at."""
        organisation = context.organisation
        ids = [each.recovery_point_id for each in points]
        also = [turned(organisation, turn), going_points(ids, thing.id, organisation)]
        await self._store.save(thing, context=context, also=also)

    async def record_gone(self, thing: RetentionCleanup, points: Sequence[GoingPoint], *, context: Context) -> None:
        """Record that points are gone, and mark them, in one transaction."""
        await self._store.save(thing, context=context, also=[gone_points(points, context.organisation)])

    async def record_end(self, thing: RetentionCleanup, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim in one transaction."""
        beside = [CLEANUPS.closed(claim), *_again(thing, context), *_stayed(thing, context)]
        await self.save_of(thing, claim, context, beside)

    async def record_unclaimed_end(self, thing: RetentionCleanup, unclaimed: Unclaimed, *, context: Context) -> None:
        """Record the end of one that no worker could take."""
        await self.save_of(thing, unclaimed.claim, context, [CLEANUPS.ended(unclaimed), *_again(thing, context)])


def _again(cleanup: RetentionCleanup, context: Context) -> list[Statement]:
    """What has tiers that did not follow the holds tried again: one was away, or something kept the worker from it."""
    if cleanup.purpose is not CleanupPurpose.HOLDS or cleanup.is_whole:
        return []
    return [set_within(TIER_HOLDS, context.organisation, AGAIN_SECONDS)]


def _stayed(cleanup: RetentionCleanup, context: Context) -> list[Statement]:
    """Whom the tiers have all been asked about, and who is there, is not about to go any more.

    Of a cleanup that has failed, or did not see some tier, a point may be gone there that was decided to go.
    """
    if cleanup.dry_run or cleanup.purpose is not CleanupPurpose.LET_GO:
        return []
    is_known = any(
        isinstance(event, RetentionCleanedUp) and not event.degraded and not event.unseen for event in cleanup.pending
    )
    return [stayed_points(context.organisation, cleanup.configuration_ids)] if is_known else []


async def _begin(store: EventStore, cleanup: RetentionCleanup, context: Context, timer: Timer, then: Statement) -> None:
    """Record a cleanup that a timer begins, and what becomes of the timer; a little later beside another cleanup."""
    claim = CLEANUPS.asked(cleanup.id, context=context, subject=context.organisation)
    try:
        await store.save(cleanup, context=context, also=[then, claim])
    except StatementRefused as error:
        if error.name != CLAIM:
            raise
        await store.save(context=context, also=[timer.moved(_beside(timer))])


def _beside(timer: Timer) -> datetime:
    return timer.now + timedelta(seconds=BESIDE_SECONDS)
