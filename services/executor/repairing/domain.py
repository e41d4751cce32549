"""The aggregate of a repair.

States: `initializing` → `preparing` → `repairing` → `completed` or `failed`; or `refused` at once. A takeover leads
back to `preparing`, under a higher fence; locations that were told by then are not looked at again.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.repair_events import (
    REPAIR_ENDED,
    REPAIR_STATE_AFTER,
    PlaceRepaired,
    RepairState,
    StorageRepairAccepted,
    StorageRepaired,
    StorageRepairFailed,
    StorageRepairPreparing,
    StorageRepairRefused,
    StorageRepairRequeued,
    StorageTierRepaired,
)
from contracts.storage_requests import StorageRepairRequested

REFUSED = "refused"


class StorageRepair(Aggregate):
    """One repair of an organisation's tiers."""

    KIND: ClassVar[str] = "executor.storage-repair"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: RepairState | str | None = None
        self.dry_run = False
        self.read_percent = 0
        self.locations: tuple[str, ...] = ()
        self.fence = 0
        self.attempts = 0
        self.told: dict[str, PlaceRepaired] = {}

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in (*REPAIR_ENDED, REFUSED)

    def accept(self, request: StorageRepairRequested) -> None:
        """Take it on; a worker will claim it."""
        self.record(
            StorageRepairAccepted(
                request_id=request.request_id,
                repair_id=self.id,
                dry_run=request.dry_run,
                read_percent=request.read_percent,
                locations=request.locations,
            )
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(StorageRepairPreparing(repair_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            StorageRepairRequeued(repair_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at)
        )

    def repaired(self, place: PlaceRepaired, *, fence: int) -> None:
        """A location was looked at, and repaired as far as can be."""
        self._refuse_when_not_mine(fence)
        self.record(StorageTierRepaired(repair_id=self.id, repaired_place=place))

    def complete(self, places: Sequence[PlaceRepaired], *, fence: int, seconds: float) -> None:
        """All locations were looked at. `places`: what is said of each; of one that is told already, that counts."""
        self._refuse_when_not_mine(fence)
        every = {**{place.location: place for place in places}, **self.told}
        self.record(
            StorageRepaired(
                repair_id=self.id,
                dry_run=self.dry_run,
                degraded=any(place.code is not None or place.given_up for place in every.values()),
                repaired_places=tuple(every[location] for location in sorted(every)),
                seconds=seconds,
            )
        )

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """It has ended before its time."""
        self._refuse_when_not_mine(fence)
        self.record(StorageRepairFailed(repair_id=self.id, code=code, hint=hint))

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = REPAIR_STATE_AFTER.get(type(event), self.state)
        match event:
            case StorageRepairAccepted():
                self.dry_run, self.read_percent, self.locations = event.dry_run, event.read_percent, event.locations
            case StorageRepairRefused():
                self.state = REFUSED
            case StorageRepairPreparing(fence=fence):
                self.fence = fence
                self.attempts += 1
            case StorageTierRepaired(repaired_place=place):
                self.told[place.location] = place

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise PlatformError(errors.CONCURRENT_CHANGE, "the repair has ended already", repair_id=self.id)

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
