"""Work that is done on all tiers of an organisation, as a worker performs it: a repair, an optimisation, an erasure.

Promise: such work begins no repository; each step has its time, and what a silent tier holds up is left behind.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from chassis.claims.performance import Attempt, Opened, Performance
from chassis.claims.port import Claim, Claims, Performed, ProgressFeed, WorkRecord
from chassis.life.signs import Signs
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from services.executor.failures import told_code, told_hint, waiting_hint

LEAVE_SECONDS = 3600.0
OPEN_SECONDS = {errors.TIER_UNREACHABLE: 900.0}

_OVER_BY_ITSELF = (errors.UNAVAILABLE, errors.CONCURRENT_CHANGE)

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Failing(Performed, Protocol):
    """Work that ends before its time, or is put off, where an attempt has failed."""

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """An attempt has failed."""
        ...


W = TypeVar("W", bound=Failing)
O_co = TypeVar("O_co", bound=Opened, covariant=True)


class Plane(Protocol[O_co]):
    """The repository, seen from the work."""

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> O_co | None:
        """Open the tiers; None where the organisation has none. Raises what keeps it from that."""
        ...


class OnTiers(Performance[W, Attempt[W]], Generic[W, O_co]):
    """Performs claimed work of one kind. A subclass says what is done, and records the end."""

    ACTOR = "service:executor-worker"

    def __init__(
        self,
        record: WorkRecord[W],
        claims: Claims,
        plane: Plane[O_co],
        *,
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float,
    ) -> None:
        super().__init__(record, claims, progress=progress, standstills=standstills)
        self._plane = plane
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    @abstractmethod
    async def record_end(self, attempt: Attempt[W]) -> None:
        """Record the end, and close the claim."""

    def attempt(self, work: W, claim: Claim, is_cancelled: Callable[[], bool]) -> Attempt[W]:
        """The work under a claim."""
        return Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What the work waits for."""
        if error.code in _OVER_BY_ITSELF:
            return error.code, f"Nothing is to be done: the {self.NOUN} is tried again by itself."
        return told_code(error.code), waiting_hint(error)

    async def open(self, attempt: Attempt[W]) -> O_co | None:
        """The organisation's tiers; None where it has none. They are given back when the attempt has ended."""

        def is_cancelled() -> bool:
            # What was left behind changes nothing more when its disk answers after all.
            return attempt.signs.is_left or attempt.is_cancelled()

        attempt.signs.at("opening", "the organisation's tiers", errors.TIER_UNREACHABLE)
        call = partial(self._plane.open, attempt.claim, attempt.signs, is_cancelled)
        opened = await self.in_time(attempt, call, OPEN_SECONDS, discard=_close)
        attempt.opened = opened
        return opened

    async def in_thread(self, attempt: Attempt[Any], step: str, call: Callable[[], T]) -> T:
        """What a step gives. Raises where it does not end in its time."""
        attempt.signs.at(step, "the organisation's tiers", errors.TIER_UNREACHABLE)
        return await self.in_time(attempt, call, self._leave_seconds)

    async def fail(self, attempt: Attempt[W], error: PlatformError) -> None:
        """Tell that the attempt has failed."""
        _log.error(
            "work on tiers has failed",
            extra={self.ID: attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        code = told_code(error.code)
        attempt.work.fail(fence=attempt.claim.fence, code=code.code, hint=told_hint(error, None))
        await self.record_end(attempt)


def _close(left: Opened | None) -> None:
    if left is not None:
        left.close()
