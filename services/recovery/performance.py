"""What a worker does with a recovery that it has claimed, from the first look at the target to the last byte read back.

Every step is recorded before the next begins. A crash at any point leaves a claim without heartbeats, and a target with
the mark of an unfinished restore: the next worker goes on with what is there, under a higher fence.
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
from contracts.recovery_events import ConflictPolicy, RecoveryState
from services.recovery.domain import RecoveryOperation
from services.recovery.failures import told_code, told_hint, waiting_hint
from services.recovery.kept import Order, order_of
from services.recovery.policies import when_restored
from services.recovery.ports import DataPlane, OpenRestore, Operations, Restored

LEAVE_SECONDS = 3600.0
"""How long restoring waits for the target or a tier that gives no sign."""
DOUBT_SECONDS = 0.05
"""Between two looks whether a claim is still this worker's."""
OPEN_SECONDS = {errors.TARGET_UNUSABLE: 60.0, errors.TIER_UNREACHABLE: 900.0}

_log = logging.getLogger(__name__)


_Attempt = Attempt[RecoveryOperation]


class RecoveryPerformance(Performance[RecoveryOperation, _Attempt]):
    """Performs claimed recoveries."""

    NOUN = "recovery"
    ID = "operation_id"
    ACTOR = "service:recovery-worker"
    ABANDONED = errors.RECOVERY_ABANDONED

    def __init__(
        self,
        *,
        operations: Operations,
        claims: Claims,
        data_plane: DataPlane,
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        super().__init__(operations, claims, progress=progress, standstills=standstills)
        self._operations = operations
        self._data_plane = data_plane
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    def attempt(self, work: RecoveryOperation, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """A recovery under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What a recovery waits for."""
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Open target and tiers, restore, and tell the end."""
        claim, started = attempt.claim, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository: others of the organisation need not wait.
        opened = attempt.opened = await self._open(attempt, _order_of(claim))
        attempt.work.start(fence=claim.fence)
        await self.note(attempt)
        restored = await self._restore(attempt, opened)
        is_whole, code = when_restored(restored)
        if not is_whole:
            lacking = code or errors.RECOVERY_INCOMPLETE
            await self.fail(attempt, PlatformError(lacking, "not all that was asked for is there"), restored)
            return
        attempt.work.complete(
            fence=claim.fence,
            totals=restored.totals,
            missing_in_point=restored.missing_in_point,
            code=None if code is None else code.code,
            seconds=time.monotonic() - started,
        )
        await self._record_end(attempt)

    async def _open(self, attempt: _Attempt, order: Order) -> OpenRestore:
        signs = attempt.signs
        signs.at("opening", f"the target at {order.target_location}", errors.TARGET_UNUSABLE)
        return await self.in_time(
            attempt,
            partial(self._data_plane.open, attempt.claim, order, signs),
            OPEN_SECONDS,
            discard=lambda left: left.close(),
        )

    async def _restore(self, attempt: _Attempt, opened: OpenRestore) -> Restored:
        def is_cancelled() -> bool:
            # What was left behind writes nothing more when its disk answers after all; what may be another worker's by
            # now waits for the next heartbeat, which tells.
            while not (is_over := attempt.signs.is_left or attempt.is_cancelled()):
                if self._claims.is_sure(attempt.claim):
                    return False
                time.sleep(DOUBT_SECONDS)
            return is_over

        with self.telling(attempt, RecoveryState.RECOVERING) as tell:
            call = partial(opened.restore, on_progress=tell, is_cancelled=is_cancelled)
            return await self.in_time(attempt, call, self._leave_seconds)

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._operations.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def fail(self, attempt: _Attempt, error: PlatformError, restored: Restored | None = None) -> None:
        """End the recovery. `restored`: what there is."""
        code = told_code(error.code)
        _log.error(
            "a recovery has failed",
            extra={"operation_id": attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        attempt.work.fail(
            fence=attempt.claim.fence,
            code=code.code,
            hint=told_hint(error),
            totals=None if restored is None else restored.totals,
        )
        await self._record_end(attempt)


def _order_of(claim: Claim) -> Order:
    """What is to be done. Raises INTERNAL where the claim does not say: it ends, rather than go round for ever.

    Raises EVENT_UNREADABLE where a newer build has written it.
    """
    if claim.body is None:
        raise PlatformError(errors.INTERNAL, "the claim does not say what is to be restored")
    order = order_of(claim.body)
    if order.conflict_policy not in set(ConflictPolicy):
        # Given back: a worker of the newer build can do it.
        raise PlatformError(errors.EVENT_UNREADABLE, "a newer build wrote what is to be restored")
    return order
