"""What a worker does with a repair that it has claimed.

Promise: all locations are looked at before anything is changed, then one is repaired after the other, and each is told
in the record before that is begun and when it is done. Killed anywhere, the next worker looks at those that were not
told, and goes on: what a repair has made whole is found whole, and its end says how many attempts were cut off where.
"""

import time
from collections.abc import Mapping
from functools import partial

from chassis.claims.performance import Attempt
from chassis.claims.port import Claims, ProgressFeed
from chassis.life.patience import patiently
from chassis.life.standstills import Standstills
from contracts import errors
from contracts.repair_events import PlaceRepaired
from services.executor.on_tiers import LEAVE_SECONDS, OnTiers, Plane
from services.executor.repairing.domain import StorageRepair
from services.executor.repairing.ports import OpenRepair, Repairs

_Attempt = Attempt[StorageRepair]


class RepairPerformance(OnTiers[StorageRepair, OpenRepair]):
    """Performs claimed repairs."""

    NOUN = "repair"
    ID = "repair_id"
    ABANDONED = errors.STORAGE_REPAIR_ABANDONED

    def __init__(
        self,
        *,
        repairs: Repairs,
        claims: Claims,
        plane: Plane[OpenRepair],
        progress: ProgressFeed,
        standstills: Standstills,
        leave_seconds: float = LEAVE_SECONDS,
    ) -> None:
        super().__init__(
            repairs, claims, plane, progress=progress, standstills=standstills, leave_seconds=leave_seconds
        )
        self._repairs = repairs

    async def carry_out(self, attempt: _Attempt) -> None:
        """Look, repair one location after the other, and tell the end."""
        repair, fence, started = attempt.work, attempt.claim.fence, time.monotonic()
        await self.let_others_open(attempt)  # It begins no repository.
        opened = await self.open(attempt)
        found: Mapping[str, PlaceRepaired] = {}
        if opened is not None:
            look = partial(opened.look, set(repair.locations), repair.read_percent, set(repair.told))
            found = await self.in_thread(attempt, "looking for damage", look)
            for location in [] if repair.dry_run else sorted(found):
                if found[location].damaged:
                    # Recorded first: whoever goes on after this one has died finds whole what was made whole.
                    repair.begin(found[location], fence=fence)
                    await self.note(attempt)
                    place = await self.in_thread(attempt, f"repairing {location}", partial(opened.repair, location))
                    repair.repaired(place, fence=fence)
                    await self.note(attempt)
        repair.complete(list(found.values()), fence=fence, seconds=time.monotonic() - started)
        await self.record_end(attempt)

    async def record_end(self, attempt: _Attempt) -> None:
        """Record the end, and close the claim."""
        await patiently(
            lambda: self._repairs.record_end(attempt.work, claim=attempt.claim, context=attempt.context),
            attempt.is_cancelled,
        )
