"""What a worker does with an erasure that it has claimed.

Promise: nothing is destroyed while anything stands against it, and the record says that it begins before the first key
goes; from then on it is gone on with, whoever dies. The tiers' keys go first, the key of the sealed fields last: while
anybody has to look for what is left, the record still says in words whose it is. The end is recorded behind both.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chassis.claims.performance import Attempt, Performance
from chassis.claims.port import Claim, Claims, ProgressFeed
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.erasure_events import Obstacle
from contracts.errors import ErrorCode, PlatformError
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import against
from services.executor.erasing.ports import Destroyed, Domain, ErasurePlane, Erasures, OpenErasure
from services.executor.failures import told_code, told_hint, waiting_hint

LEAVE_SECONDS = 3600.0
OPEN_SECONDS = {errors.TIER_UNREACHABLE: 900.0}
NOWHERE = Destroyed(places=(), is_complete=True)
"""Of an organisation without a repository: nothing was ever saved."""

_OVER_BY_ITSELF = (errors.UNAVAILABLE, errors.CONCURRENT_CHANGE)

_log = logging.getLogger(__name__)

T = TypeVar("T")

_Attempt = Attempt[SubjectErasure]


class ErasurePerformance(Performance[SubjectErasure, _Attempt]):
    """Performs claimed erasures."""

    NOUN = "erasure"
    ID = "erasure_id"
    ACTOR = "service:executor-worker"
    ABANDONED = errors.ERASURE_ABANDONED

    def __init__(
        self,
        *,
        erasures: Erasures,
        claims: Claims,
        plane: ErasurePlane,
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        super().__init__(erasures, claims, progress=progress, standstills=standstills)
        self._erasures = erasures
        self._plane = plane
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    def attempt(self, work: SubjectErasure, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """An erasure under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What an erasure waits for."""
        if error.code in _OVER_BY_ITSELF:
            return error.code, "Nothing is to be done: the erasure is tried again by itself."
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Look, judge, destroy the keys, and tell what is left."""
        erasure, claim = attempt.work, attempt.claim
        organisation, subject = claim.organisation, erasure.data_subject_id
        await self.let_others_open(attempt)  # It begins no repository.
        opened = attempt.opened = await self._open(attempt)
        domain = Domain(key_ids=(), holds=())
        if opened is not None:
            look = partial(opened.look, subject, erasure.key_ids)
            domain = await self._in_thread(attempt, "looking at what there is", look)
        standing = await patiently(lambda: self._erasures.standing(organisation, subject), attempt.is_cancelled)
        obstacles = [] if erasure.has_begun_erasing else against(standing)
        obstacles += [Obstacle(code=errors.POINT_HELD.code, about=name) for name in domain.holds]
        if obstacles:
            erasure.block(obstacles)
            await self._record_end(attempt)
            return
        erasure.begin(domain.key_ids, fence=claim.fence)
        await patiently(
            lambda: self._erasures.record_begun(erasure, standing, context=attempt.context), attempt.is_cancelled
        )
        done = NOWHERE
        if opened is not None:
            destroy = partial(opened.destroy, subject, erasure.key_ids)
            done = await self._in_thread(attempt, "destroying the keys on the tiers", destroy)
        forget = partial(self._plane.forget, organisation, subject)
        await self._in_thread(attempt, "destroying the key of the sealed fields", forget)
        erasure.erased(
            standing.points, done.places, fence=claim.fence, is_complete=done.is_complete, receipt=done.receipt
        )
        await self._record_end(attempt)

    async def _open(self, attempt: _Attempt) -> OpenErasure | None:
        def is_cancelled() -> bool:
            # What was left behind destroys nothing more when its disk answers after all.
            return attempt.signs.is_left or attempt.is_cancelled()

        attempt.signs.at("opening", "the organisation's tiers", errors.TIER_UNREACHABLE)
        call = partial(self._plane.open, attempt.claim, attempt.signs, is_cancelled)
        return await self.in_time(attempt, call, OPEN_SECONDS, discard=_close)

    async def _in_thread(self, attempt: _Attempt, step: str, call: Callable[[], T]) -> T:
        attempt.signs.at(step, "the organisation's tiers", errors.TIER_UNREACHABLE)
        return await self.in_time(attempt, call, self._leave_seconds)

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._erasures.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """Put the erasure off."""
        _log.error(
            "an attempt to erase has failed",
            extra={"erasure_id": attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        code = told_code(error.code)
        attempt.work.fail(fence=attempt.claim.fence, code=code.code, hint=told_hint(error, None))
        await self._record_end(attempt)


def _close(left: OpenErasure | None) -> None:
    if left is not None:
        left.close()
