"""Optimisations: which are taken on, what they need of the outside, and what a worker does with a claimed one.

Promise: what is stored again is bounded by what is left of the organisation's day, which is noted with the end; nothing
that a point needs goes (`repository/prune`), and what was saved is told as it was measured. A worker that dies over one
is followed by another, which goes on from what the tiers' logs say.
"""

import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Protocol

from chassis.claims.performance import Attempt
from chassis.claims.port import Claim, Claims, ProgressFeed, WorkRecord
from chassis.context import Context
from chassis.handling import Handling
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.optimization_events import PlaceOptimized, StorageOptimizationRefused
from contracts.refusal import Objection
from contracts.storage_requests import StorageOptimizationRequested
from services.executor.errors import OptimizationBusy
from services.executor.on_tiers import LEAVE_SECONDS, OnTiers, Plane
from services.executor.repairing.optimization import StorageOptimization
from services.executor.repairing.ports import KeptAt

BYTES_A_DAY = 64 << 30
"""So much an organisation's optimisations store again in a day, at each location, beside what is owed to it."""
_Attempt = Attempt[StorageOptimization]


class Optimizations(WorkRecord[StorageOptimization], Protocol):
    """The record of optimisations."""

    async def find(self, id: str, organisation: str) -> StorageOptimization | None:  # noqa: A002  # as the aggregate
        """One of an organisation's, or None."""
        ...

    async def record_answer(self, thing: StorageOptimization, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none."""
        ...

    async def record_accepted(self, optimization: StorageOptimization, handling: Handling) -> None:
        """Record that one is taken on, and open its claim: all or none. Raises OptimizationBusy."""
        ...

    async def record_end(
        self, thing: StorageOptimization, stored_bytes: int, *, claim: Claim, context: Context
    ) -> None:
        """Record the end, note what was stored again, and close the claim: all or none. Raises CLAIM_LOST."""
        ...


class Spending(Protocol):
    """What was stored again of late."""

    async def within_a_day(self, organisation: str) -> int:
        """So many bytes the organisation's optimisations have stored again within the last 24 hours, at a location."""
        ...


class OpenOptimization(Protocol):
    """An organisation's repository, opened where it is remembered. Blocking calls; made in a thread."""

    def plan(self, allowed_bytes: int) -> Sequence[PlaceOptimized]:
        """What would be done at each location, and why not all at some."""
        ...

    def optimize(self, allowed_bytes: int) -> Sequence[PlaceOptimized]:
        """Bring what is owed, and free what is waste; so many bytes may be stored again for that. What was done."""
        ...

    def close(self) -> None:
        """Give the tiers back."""
        ...


class OptimizationDecisions:
    """Takes requested optimisations on, or refuses them."""

    def __init__(self, optimizations: Optimizations, kept_at: KeptAt) -> None:
        self._optimizations = optimizations
        self._kept_at = kept_at

    async def decide(self, request: StorageOptimizationRequested, handling: Handling) -> None:
        """Accept or refuse a request. One that can find nothing is refused before it is recorded as taken on."""
        organisation = handling.context.organisation
        kept_at: Collection[str] = await self._kept_at.locations(organisation)
        if not kept_at:
            code = errors.TIER_NOT_IN_USE
            await self._refuse(request, Objection(code, hint=code.hint), handling)
            return
        optimization = StorageOptimization(request.optimization_id)
        optimization.accept(request)
        try:
            await self._optimizations.record_accepted(optimization, handling)
        except OptimizationBusy as busy:
            if await self._optimizations.find(request.optimization_id, organisation) is None:
                await self._refuse(request, Objection(busy.code, busy.field, busy.hint), handling)

    async def _refuse(self, request: StorageOptimizationRequested, objection: Objection, handling: Handling) -> None:
        optimization = StorageOptimization(request.optimization_id)
        optimization.record(StorageOptimizationRefused.of(request, objection))
        await self._optimizations.record_answer(optimization, handling)


class OptimizationPerformance(OnTiers[StorageOptimization, OpenOptimization]):
    """Performs claimed optimisations."""

    NOUN = "optimisation"
    ID = "optimization_id"
    ABANDONED = errors.STORAGE_OPTIMIZATION_ABANDONED

    def __init__(
        self,
        *,
        optimizations: Optimizations,
        spending: Spending,
        claims: Claims,
        plane: Plane[OpenOptimization],
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
        bytes_a_day: int = BYTES_A_DAY,
    ) -> None:
        super().__init__(
            optimizations, claims, plane, progress=progress, standstills=standstills, leave_seconds=leave_seconds
        )
        self._optimizations = optimizations
        self._spending = spending
        self._bytes_a_day = bytes_a_day

    async def carry_out(self, attempt: _Attempt) -> None:
        """Plan, or do it, and tell the end."""
        optimization, claim, started = attempt.work, attempt.claim, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository.
        spent = await patiently(lambda: self._spending.within_a_day(claim.organisation), attempt.is_cancelled)
        allowed = max(0, self._bytes_a_day - spent)
        opened = await self.open(attempt)
        places: Sequence[PlaceOptimized] = ()
        if opened is not None:
            call = opened.plan if optimization.dry_run else opened.optimize
            places = await self.in_thread(attempt, "optimising", partial(call, allowed))
        optimization.complete(places, allowed, fence=claim.fence, seconds=time.monotonic() - started)
        stored = 0 if optimization.dry_run else max((place.stored_bytes for place in places), default=0)
        await self.record_end(attempt, stored)

    async def record_end(self, attempt: _Attempt, stored_bytes: int = 0) -> None:
        """Record the end with what was stored again, and close the claim."""
        await patiently(
            lambda: self._optimizations.record_end(
                attempt.work, stored_bytes, claim=attempt.claim, context=attempt.context
            ),
            attempt.is_cancelled,
        )
