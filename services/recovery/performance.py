"""What a worker does with a recovery that it has claimed, from the first look at the target to the last byte read back.

Every step is recorded before the next begins. A crash at any point leaves a claim without heartbeats, and a target with
the mark of an unfinished restore: the next worker goes on with what is there, under a higher fence.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from chassis.claims.port import (
    GIVEN_BACK,
    GIVEN_BACK_MAX,
    Claim,
    ClaimLost,
    Claims,
    ProgressFeed,
    ProgressReport,
    Trouble,
)
from chassis.context import Context
from chassis.life.blocking import NoAnswer, RunInterrupted, call_in_thread
from chassis.life.patience import patiently
from chassis.life.signs import Signs
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.recovery_events import RecoveryState
from services.recovery.domain import RecoveryOperation
from services.recovery.failures import told_code, told_hint, waiting_hint
from services.recovery.kept import ORDER, Order
from services.recovery.policies import ATTEMPTS_BEFORE_FAILURE, when_restored
from services.recovery.ports import DataPlane, OpenRestore, Operations, Restored

ACTOR = "service:recovery-worker"
LEAVE_SECONDS = 3600.0
"""How long restoring waits for the target or a tier that gives no sign."""
OPEN_SECONDS = {errors.TARGET_UNUSABLE: 60.0, errors.TIER_UNREACHABLE: 900.0}
CLOSE_SECONDS = 30.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class _Attempt:
    """One recovery under one claim."""

    operation: RecoveryOperation
    claim: Claim
    context: Context
    is_cancelled: Callable[[], bool]
    signs: Signs = field(default_factory=Signs)
    is_over: bool = False


class RecoveryPerformance:
    """`Performer` of recoveries, one call per recovery; calls may overlap."""

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
        self._operations = operations
        self._claims = claims
        self._data_plane = data_plane
        self._progress = progress
        self._standstills = standstills
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Bring a recovery to its end. Raises CLAIM_LOST when it is another's, `RunInterrupted` when cancelled."""
        try:
            operation = await patiently(lambda: self._operations.load(claim.work_id), is_cancelled)
        except PlatformError as error:
            if error.code is errors.EVENT_UNREADABLE and claim.troubles >= GIVEN_BACK_MAX:
                unread = await patiently(lambda: self._operations.at_hand(claim), is_cancelled)
                await self._fail(_Attempt(unread, claim, claim.context(ACTOR), is_cancelled), error)
                return
            if error.code is not errors.AGGREGATE_NOT_FOUND:
                raise
            _log.error("a claim has no recovery in the record, and is closed", extra={"operation_id": claim.work_id})
            await patiently(lambda: self._claims.close(claim), is_cancelled)
            return
        if operation.is_finished and await patiently(lambda: self._claims.close(claim), is_cancelled):
            return
        attempt = _Attempt(operation, claim, claim.context(ACTOR), is_cancelled)
        operation.prepare(fence=claim.fence, worker=claim.worker)
        if claim.silenced >= ATTEMPTS_BEFORE_FAILURE:
            message = f"{claim.silenced} workers fell silent over the recovery"
            await self._fail(attempt, PlatformError(errors.RECOVERY_ABANDONED, message))
            return
        await self._record(attempt)
        # It begins no repository: others of the organisation need not wait.
        if not await patiently(lambda: self._claims.opened(claim), is_cancelled):
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1)
        try:
            await self._perform(attempt)
        finally:
            attempt.is_over = True
            self._progress.forget(claim.work_id)
            self._standstills.forget(claim.work_id)

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Let another worker take the recovery; in the record, too."""
        in_trouble = trouble is not None
        try:
            operation = await self._operations.at_hand(claim)
            if operation.fence == claim.fence and not operation.is_finished:
                if trouble is None:
                    operation.requeue(fence=claim.fence)
                else:
                    operation.requeue(
                        fence=claim.fence,
                        code=told_code(trouble.error.code).code,
                        hint=waiting_hint(trouble.error),
                        next_attempt_at=trouble.next_attempt_at,
                    )
                await self._operations.record_release(
                    operation, claim=claim, is_left=is_left, in_trouble=in_trouble, context=claim.context(ACTOR)
                )
                return
        except PlatformError as error:
            extra = {"operation_id": claim.work_id}
            _log.warning("given back without a word in the record", exc_info=error, extra=extra)
        await self._claims.release(claim, is_left=is_left, in_trouble=in_trouble)

    async def _perform(self, attempt: _Attempt) -> None:
        claim = attempt.claim
        started = time.monotonic()
        opened: OpenRestore | None = None
        try:
            order = _order_of(claim)
            opened = await self._open(attempt, order)
            attempt.operation.start(fence=claim.fence)
            await self._record(attempt)
            restored = await self._restore(attempt, opened)
            is_whole, code = when_restored(restored)
            if not is_whole:
                lacking = code or errors.RECOVERY_INCOMPLETE
                await self._fail(attempt, PlatformError(lacking, "not all that was asked for is there"), restored)
                return
            attempt.operation.complete(
                fence=claim.fence,
                totals=restored.totals,
                missing_in_point=restored.missing_in_point,
                code=None if code is None else code.code,
                seconds=time.monotonic() - started,
            )
            await self._record_end(attempt)
        except PlatformError as error:
            if error.code is errors.CLAIM_LOST or (error.code in GIVEN_BACK and claim.troubles < GIVEN_BACK_MAX):
                raise  # This ends the worker's part, and not the recovery.
            await self._fail(attempt, error)
        except RunInterrupted:
            raise
        except Exception as error:  # noqa: BLE001  # a recovery must not go round for ever, whatever it was
            _log.exception("a recovery broke off", extra={"operation_id": claim.work_id})
            broken = PlatformError(errors.INTERNAL, f"the worker broke off: {describe(error)}")
            await self._fail(attempt, broken)
        finally:
            if opened is not None:
                await self._close(attempt, opened)

    async def _open(self, attempt: _Attempt, order: Order) -> OpenRestore:
        signs = attempt.signs
        signs.at("opening", f"the target at {order.target_location}", errors.TARGET_UNUSABLE)
        return await self._standstills.watched(
            attempt.operation.id,
            partial(self._data_plane.open, attempt.claim, order, signs),
            signs,
            OPEN_SECONDS,
            is_cancelled=attempt.is_cancelled,
            discard=lambda left: left.close(),
        )

    async def _restore(self, attempt: _Attempt, opened: OpenRestore) -> Restored:
        loop = asyncio.get_running_loop()
        telling: set[asyncio.Task[None]] = set()

        def tell(report: ProgressReport) -> None:
            if attempt.is_over:
                return  # Whatever is told now would be of one that has been forgotten.
            task = loop.create_task(self._progress.tell(attempt.claim, RecoveryState.RECOVERING, report))
            telling.add(task)
            task.add_done_callback(telling.discard)

        def tell_from_thread(report: ProgressReport) -> None:
            loop.call_soon_threadsafe(tell, report)

        def is_cancelled() -> bool:
            # What was left behind writes nothing more when its disk answers after all.
            return attempt.signs.is_left or attempt.is_cancelled()

        call = partial(opened.restore, on_progress=tell_from_thread, is_cancelled=is_cancelled)
        try:
            return await self._standstills.watched(
                attempt.operation.id, call, attempt.signs, self._leave_seconds, is_cancelled=attempt.is_cancelled
            )
        finally:
            attempt.is_over = True
            for task in telling:
                task.cancel()

    async def _close(self, attempt: _Attempt, opened: OpenRestore) -> None:
        until = time.monotonic() + CLOSE_SECONDS
        try:
            await call_in_thread(
                opened.close, is_cancelled=attempt.is_cancelled, is_overdue=lambda: time.monotonic() > until
            )
        except NoAnswer:
            _log.warning("a tier does not let itself be closed", extra={"operation_id": attempt.operation.id})

    async def _record(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._operations.record(attempt.operation, context=attempt.context), attempt.is_cancelled
        )

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._operations.record_end(attempt.operation, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def _fail(self, attempt: _Attempt, error: PlatformError, restored: Restored | None = None) -> None:
        code = told_code(error.code)
        _log.error(
            "a recovery has failed",
            extra={"operation_id": attempt.operation.id, "code": error.code.code, "cause": describe(error)},
        )
        attempt.operation.fail(
            fence=attempt.claim.fence,
            code=code.code,
            hint=told_hint(error),
            totals=None if restored is None else restored.totals,
        )
        await self._record_end(attempt)


def _order_of(claim: Claim) -> Order:
    """What is to be done. Raises INTERNAL where the claim does not say: it ends, rather than go round for ever."""
    if claim.body is None:
        raise PlatformError(errors.INTERNAL, "the claim does not say what is to be restored")
    return ORDER.decode(claim.body)
