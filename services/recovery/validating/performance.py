"""What a worker does with a validation that it has claimed: open the tiers, read them, tell what was found.

A validation changes nothing on any tier. Killed anywhere, the next worker begins to read anew, under a higher fence.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

from chassis.claims.performance import Attempt, Performance
from chassis.claims.port import Claim, Claims, ProgressFeed
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.validation_events import ValidationDepth, ValidationState
from services.recovery.failures import told_code, told_hint, waiting_hint
from services.recovery.validating.domain import RecoveryValidation, affected_of
from services.recovery.validating.found import Found, ValidationOrder, validation_order_of
from services.recovery.validating.ports import OpenValidation, PointsOfSnapshots, ValidationPlane, Validations

LEAVE_SECONDS = 3600.0
"""How long reading waits for a tier that gives no sign."""
OPEN_SECONDS = {errors.TIER_UNREACHABLE: 900.0}

_log = logging.getLogger(__name__)

_Attempt = Attempt[RecoveryValidation]


class ValidationPerformance(Performance[RecoveryValidation, _Attempt]):
    """Performs claimed validations."""

    NOUN = "validation"
    ID = "validation_id"
    ACTOR = "service:recovery-worker"
    ABANDONED = errors.VALIDATION_ABANDONED

    def __init__(
        self,
        *,
        validations: Validations,
        points: PointsOfSnapshots,
        claims: Claims,
        plane: ValidationPlane,
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        super().__init__(validations, claims, progress=progress, standstills=standstills)
        self._validations = validations
        self._points = points
        self._plane = plane
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    def attempt(self, work: RecoveryValidation, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """A validation under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What a validation waits for."""
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Open, read, and tell the end."""
        claim, started = attempt.claim, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository: others of the organisation need not wait.
        order = _order_of(claim)
        attempt.signs.at("opening", "the tiers of the recovery point", errors.TIER_UNREACHABLE)
        opened = await self.in_time(
            attempt,
            partial(self._plane.open, claim, order, attempt.signs),
            OPEN_SECONDS,
            discard=lambda left: left.close(),
        )
        attempt.opened = opened
        attempt.work.start(fence=claim.fence)
        await self.note(attempt)
        found = await self._read(attempt, opened)
        snapshots = [snapshot for snapshot, _ in found.harmed]
        points = await patiently(lambda: self._points.of_snapshots(claim.organisation, snapshots), attempt.is_cancelled)
        attempt.work.complete(
            found, affected_of(found.harmed, points), fence=claim.fence, seconds=time.monotonic() - started
        )
        await self._record_end(attempt)

    async def _read(self, attempt: _Attempt, opened: OpenValidation) -> Found:
        def is_cancelled() -> bool:
            return attempt.signs.is_left or attempt.is_cancelled()

        with self.telling(attempt, ValidationState.VALIDATING) as tell:
            call = partial(opened.read, on_progress=tell, is_cancelled=is_cancelled)
            return await self.in_time(attempt, call, self._leave_seconds)

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._validations.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """End the validation."""
        _log.error(
            "a validation has failed",
            extra={"validation_id": attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        attempt.work.fail(fence=attempt.claim.fence, code=told_code(error.code).code, hint=told_hint(error))
        await self._record_end(attempt)


def _order_of(claim: Claim) -> ValidationOrder:
    """What is to be read. Raises INTERNAL where the claim does not say, EVENT_UNREADABLE of a newer build's."""
    if claim.body is None:
        raise PlatformError(errors.INTERNAL, "the claim does not say what is to be read")
    order = validation_order_of(claim.body)
    if order.depth not in set(ValidationDepth):
        # Given back: a worker of the newer build can do it.
        raise PlatformError(errors.EVENT_UNREADABLE, "a newer build wrote how deep is to be read")
    return order
