"""What a worker does with an erasure that it has claimed.

Promise: nothing is destroyed while anything stands against it, and the record says that it begins before the first key
goes; from then on it is gone on with, whoever dies. The tiers' keys go first, the key of the sealed fields last: while
anybody has to look for what is left, the record still says in words whose it is. The end is recorded behind both.
"""

from functools import partial

from chassis.claims.performance import Attempt
from chassis.claims.port import Claims, ProgressFeed
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.erasure_events import Obstacle
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import against
from services.executor.erasing.ports import Destroyed, Domain, ErasurePlane, Erasures, OpenErasure
from services.executor.on_tiers import LEAVE_SECONDS, OnTiers

NOWHERE = Destroyed(places=(), is_complete=True)
"""Of an organisation without a repository: nothing was ever saved."""

_Attempt = Attempt[SubjectErasure]


class ErasurePerformance(OnTiers[SubjectErasure, OpenErasure]):
    """Performs claimed erasures."""

    NOUN = "erasure"
    ID = "erasure_id"
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
        super().__init__(
            erasures, claims, plane, progress=progress, standstills=standstills, leave_seconds=leave_seconds
        )
        self._erasures = erasures
        self._keys = plane

    async def carry_out(self, attempt: _Attempt) -> None:
        """Look, judge, destroy the keys, and tell what is left."""
        erasure, claim = attempt.work, attempt.claim
        organisation, subject = claim.organisation, erasure.data_subject_id
        await self.let_others_open(attempt)  # It begins no repository.
        opened = await self.open(attempt)
        domain = Domain(key_ids=(), holds=())
        if opened is not None:
            look = partial(opened.look, subject, erasure.key_ids)
            domain = await self.in_thread(attempt, "looking at what there is", look)
        standing = await patiently(lambda: self._erasures.standing(organisation, subject), attempt.is_cancelled)
        obstacles = [] if erasure.has_begun_erasing else against(standing)
        obstacles += [Obstacle(code=errors.POINT_HELD.code, about=name) for name in domain.holds]
        if obstacles:
            erasure.block(obstacles)
            await self.record_end(attempt)
            return
        erasure.begin(domain.key_ids, fence=claim.fence)
        await patiently(
            lambda: self._erasures.record_begun(erasure, standing, context=attempt.context), attempt.is_cancelled
        )
        done = NOWHERE
        if opened is not None:
            destroy = partial(opened.destroy, subject, erasure.key_ids)
            done = await self.in_thread(attempt, "destroying the keys on the tiers", destroy)
        forget = partial(self._keys.forget, organisation, subject)
        await self.in_thread(attempt, "destroying the key of the sealed fields", forget)
        erasure.erased(
            standing.points, done.places, fence=claim.fence, is_complete=done.is_complete, receipt=done.receipt
        )
        await self.record_end(attempt)

    async def record_end(self, attempt: _Attempt) -> None:
        """Record the end, and close the claim or put it off."""
        await patiently(
            lambda: self._erasures.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )
