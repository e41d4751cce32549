"""What a worker does with a repair that it has claimed.

Promise: all locations are looked at before anything is changed, then one is repaired after the other, and each is told
in the record before that is begun and when it is done. Killed anywhere, the next worker looks at those that were not
told, and goes on: what a repair has made whole is found whole, and its end says how many attempts were cut off where.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from chassis.claims.performance import Attempt, Performance
from chassis.claims.port import Claim, Claims, ProgressFeed
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.repair_events import PlaceRepaired
from services.executor.failures import told_code, told_hint, waiting_hint
from services.executor.repairing.domain import StorageRepair
from services.executor.repairing.ports import OpenRepair, RepairPlane, Repairs

LEAVE_SECONDS = 3600.0
OPEN_SECONDS = {errors.TIER_UNREACHABLE: 900.0}

_OVER_BY_ITSELF = (errors.UNAVAILABLE, errors.CONCURRENT_CHANGE)

_log = logging.getLogger(__name__)

T = TypeVar("T")

_Attempt = Attempt[StorageRepair]


class RepairPerformance(Performance[StorageRepair, _Attempt]):
    """Performs claimed repairs."""

    NOUN = "repair"
    ID = "repair_id"
    ACTOR = "service:executor-worker"
    ABANDONED = errors.STORAGE_REPAIR_ABANDONED

    def __init__(
        self,
        *,
        repairs: Repairs,
        claims: Claims,
        plane: RepairPlane,
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        super().__init__(repairs, claims, progress=progress, standstills=standstills)
        self._repairs = repairs
        self._plane = plane
        self._leave_seconds = dict.fromkeys(OPEN_SECONDS, leave_seconds)

    def attempt(self, work: StorageRepair, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """A repair under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What a repair waits for."""
        if error.code in _OVER_BY_ITSELF:
            return error.code, "Nothing is to be done: the repair is tried again by itself."
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Look, repair one location after the other, and tell the end."""
        repair, fence, started = attempt.work, attempt.claim.fence, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository.
        opened = await self._open(attempt)
        attempt.opened = opened
        found: Mapping[str, PlaceRepaired] = {}
        if opened is not None:
            look = partial(opened.look, set(repair.locations), repair.read_percent, set(repair.told))
            found = await self._in_thread(attempt, "looking for damage", look)
            for location in [] if repair.dry_run else sorted(found):
                if found[location].damaged:
                    # Recorded first: whoever goes on after this one has died finds whole what was made whole.
                    repair.begin(found[location], fence=fence)
                    await self.note(attempt)
                    place = await self._in_thread(attempt, f"repairing {location}", partial(opened.repair, location))
                    repair.repaired(place, fence=fence)
                    await self.note(attempt)
        repair.complete(list(found.values()), fence=fence, seconds=time.monotonic() - started)
        await self._record_end(attempt)

    async def _open(self, attempt: _Attempt) -> OpenRepair | None:
        def is_cancelled() -> bool:
            # What was left behind changes nothing more when its disk answers after all.
            return attempt.signs.is_left or attempt.is_cancelled()

        attempt.signs.at("opening", "the organisation's tiers", errors.TIER_UNREACHABLE)
        call = partial(self._plane.open, attempt.claim, attempt.signs, is_cancelled)
        return await self.in_time(attempt, call, OPEN_SECONDS, discard=_close)

    async def _in_thread(self, attempt: _Attempt, step: str, call: Callable[[], T]) -> T:
        attempt.signs.at(step, "the organisation's tiers", errors.TIER_UNREACHABLE)
        return await self.in_time(attempt, call, self._leave_seconds)

    async def _record_end(self, attempt: _Attempt) -> None:
        await patiently(
            lambda: self._repairs.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )

    async def fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """End the repair."""
        _log.error(
            "a repair has failed",
            extra={"repair_id": attempt.work.id, "code": error.code.code, "cause": describe(error)},
        )
        code = told_code(error.code)
        attempt.work.fail(fence=attempt.claim.fence, code=code.code, hint=told_hint(error, None))
        await self._record_end(attempt)


def _close(left: OpenRepair | None) -> None:
    if left is not None:
        left.close()
