"""What a worker does with a cleanup that it has claimed.

Promise: a point is decided in the record before any tier is told, and told as gone when each tier that answers has
forgotten it; before each portion everything is looked at anew, so that a hold, a reader, or another policy that came
meanwhile counts. Killed anywhere, the next worker goes on: what was decided and is forgotten is told with why, what was
decided and is not is judged again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from chassis.claims.performance import Attempt, Performance
from chassis.claims.port import Claim, Claims, ProgressFeed
from chassis.clock import Clock
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.cleanup_events import CleanupPurpose, GoingPoint, PlaceCleaned, PlaceHeld
from contracts.errors import ErrorCode, PlatformError
from services.executor.failures import told_code, told_hint, waiting_hint
from services.executor.retention.domain import RetentionCleanup
from services.executor.retention.plans import Assessment
from services.executor.retention.ports import CleanupPlane, Cleanups, Knowing, OpenCleanup

LEAVE_SECONDS = 3600.0
OPEN_SECONDS = {errors.TIER_UNREACHABLE: 900.0}
PORTION = 500
"""So many points are decided, forgotten and told at a time: one fact's size, and what a crash leaves to be told."""
FRUITLESS_MAX = 3
"""So often a hold may come between a look and its forgetting before the cleanup ends with that."""

_OVER_BY_ITSELF = (errors.UNAVAILABLE, errors.CONCURRENT_CHANGE)

_log = logging.getLogger(__name__)

T = TypeVar("T")

_Attempt = Attempt[RetentionCleanup]


class CleanupPerformance(Performance[RetentionCleanup, _Attempt]):
    """Performs claimed cleanups."""

    NOUN = "cleanup"
    ID = "cleanup_id"
    ACTOR = "service:executor-worker"
    ABANDONED = errors.RETENTION_CLEANUP_ABANDONED

    def __init__(
        self,
        *,
        cleanups: Cleanups,
        knowing: Knowing,
        claims: Claims,
        plane: CleanupPlane,
        progress: ProgressFeed,
        standstills: Standstills,
        clock: Clock,
        leave_seconds: float = LEAVE_SECONDS,
        portion: int = PORTION,
    ) -> None:
        super().__init__(cleanups, claims, progress=progress, standstills=standstills)
        self._cleanups = cleanups
        self._knowing = knowing
        self._plane = plane
        self._clock = clock
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)
        self._portion = portion

    def attempt(self, work: RetentionCleanup, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """A cleanup under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What a cleanup waits for."""
        if error.code in _OVER_BY_ITSELF:
            return error.code, "Nothing is to be done: the cleanup is tried again by itself."
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Look, let go by portions, prune, and tell the end."""
        cleanup, claim, started = attempt.work, attempt.claim, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository.
        opened = await self._open(attempt)
        attempt.opened = opened
        places: Sequence[PlaceCleaned] = ()
        held: Sequence[PlaceHeld] = ()
        assessed = Assessment()
        if opened is not None and cleanup.purpose is CleanupPurpose.HOLDS:
            held = await self._hold(attempt, opened)
        elif opened is not None:
            if cleanup.purpose is not CleanupPurpose.LET_GO:
                message, hint = "another build alone knows what the cleanup is for", "Bring the workers up to date."
                raise PlatformError(errors.UNAVAILABLE, message, hint=hint)
            assessed = await self._assess(attempt, opened)
            if cleanup.dry_run:
                places = opened.left_out()
            else:
                assessed = await self._let_go(attempt, opened, assessed)
                places = await self._in_thread(attempt, "deleting what nothing needs", opened.prune)
        cleanup.complete(assessed, places, held, fence=claim.fence, seconds=time.monotonic() - started)
        await self._record_end(attempt)

    async def _open(self, attempt: _Attempt) -> OpenCleanup | None:
        def is_cancelled() -> bool:
            # What was left behind forgets and deletes nothing more when its disk answers after all.
            return attempt.signs.is_left or attempt.is_cancelled()

        attempt.signs.at("opening", "the organisation's tiers", errors.TIER_UNREACHABLE)
        call = partial(self._plane.open, attempt.claim, attempt.signs, is_cancelled)
        return await self.in_time(attempt, call, OPEN_SECONDS, discard=_close)

    async def _hold(self, attempt: _Attempt, opened: OpenCleanup) -> Sequence[PlaceHeld]:
        organisation = attempt.claim.organisation
        known = await patiently(lambda: self._knowing.of(organisation, ()), attempt.is_cancelled)
        return await self._in_thread(attempt, "holding what holds keep", partial(opened.hold, known))

    async def _assess(self, attempt: _Attempt, opened: OpenCleanup) -> Assessment:
        cleanup, organisation = attempt.work, attempt.claim.organisation
        known = await patiently(lambda: self._knowing.of(organisation, cleanup.configuration_ids), attempt.is_cancelled)
        call = partial(opened.assess, known, cleanup.decided, self._clock.now())
        assessed = await self._in_thread(attempt, "looking at what there is", call)
        return msgspec.structs.replace(assessed, turn=known.turn)

    async def _let_go(self, attempt: _Attempt, opened: OpenCleanup, assessed: Assessment) -> Assessment:
        """Until nothing is left to go; what is left then."""
        cleanup, fence = attempt.work, attempt.claim.fence
        fruitless = 0
        while assessed.gone or assessed.going:
            if assessed.gone:
                # Of an attempt that died before it could say so, or forgotten by the command line.
                for start in range(0, len(assessed.gone), self._portion):
                    await self._tell_gone(attempt, assessed.gone[start : start + self._portion], ())
            if portion := assessed.going[: self._portion]:
                cleanup.decide(portion, fence=fence)
                await self._record_going(attempt, portion, assessed.turn)
                locations = await self._in_thread(attempt, "forgetting", partial(opened.forget, portion))
                if locations:
                    await self._tell_gone(attempt, portion, locations)
                    fruitless = 0
                elif (fruitless := fruitless + 1) >= FRUITLESS_MAX:
                    raise PlatformError(errors.CONCURRENT_CHANGE, "holds came for what was to go, again and again")
            assessed = await self._assess(attempt, opened)
        return assessed

    async def _record_going(self, attempt: _Attempt, points: Sequence[GoingPoint], turn: int) -> None:
        await patiently(
            lambda: self._cleanups.record_going(attempt.work, points, turn, context=attempt.context),
            attempt.is_cancelled,
        )

    async def _tell_gone(self, attempt: _Attempt, points: Sequence[GoingPoint], locations: Sequence[str]) -> None:
        attempt.work.forgotten(points, locations, fence=attempt.claim.fence)
        await patiently(
            lambda: self._cleanups.record_gone(attempt.work, points, context=attempt.context), attempt.is_cancelled
        )

    async def _in_thread(self, attempt: _Attempt, step: str, call: Callable[[], T]) -> T:
        attempt.signs.at(step, "the organisation's tiers", errors.TIER_UNREACHABLE)
        return await self.in_time(attempt, call, self._leave_seconds)

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._cleanups.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """End the cleanup."""
        _log.error(
            "a cleanup has failed",
            extra={"cleanup_id": attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        code = told_code(error.code)
        attempt.work.fail(fence=attempt.claim.fence, code=code.code, hint=told_hint(error, None))
        await self._record_end(attempt)


def _close(left: OpenCleanup | None) -> None:
    if left is not None:
        left.close()
