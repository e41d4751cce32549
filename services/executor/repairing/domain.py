"""The aggregate of a repair.

States: `initializing` → `preparing` → `repairing` → `completed` or `failed`; or `refused` at once. A takeover leads
back to `preparing`, under a higher fence; locations that were told by then are not looked at again, and of those that
were begun it is known what was found there before anything was changed.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from chassis.fitting import fitting
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
    StorageTierRepairBegun,
    StorageTierRepaired,
)
from contracts.storage_requests import StorageRepairRequested
from services.executor.repairing.told import NAMED_MAX, named, with_earlier

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
        self.found: dict[str, PlaceRepaired] = {}
        self.begun: Counter[str] = Counter()
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

    def begin(self, place: PlaceRepaired, *, fence: int) -> None:
        """What was found at a location is about to be made whole."""
        self._refuse_when_not_mine(fence)

        def begun(most: int) -> StorageTierRepairBegun:
            return StorageTierRepairBegun(repair_id=self.id, found_place=named([place], most)[0])

        self.record(fitting(begun, NAMED_MAX))

    def repaired(self, place: PlaceRepaired, *, fence: int) -> None:
        """A location that was begun was repaired as far as can be."""
        self._refuse_when_not_mine(fence)
        whole = self._with_earlier(place, interrupted=self.begun[place.location] - 1)

        def repaired(most: int) -> StorageTierRepaired:
            return StorageTierRepaired(repair_id=self.id, repaired_place=named([whole], most)[0])

        self.record(fitting(repaired, NAMED_MAX))

    def complete(self, places: Sequence[PlaceRepaired], *, fence: int, seconds: float) -> None:
        """All locations were looked at. `places`: what is said of each; of one that is told already, that counts."""
        self._refuse_when_not_mine(fence)
        looked_at = {place.location: self._with_earlier(place, self.begun[place.location]) for place in places}
        every = {**{location: self._left_off(location) for location in self.begun}, **looked_at, **self.told}
        # Where there is no room for all, those go first of which there is least to say.
        ordered = sorted(every.values(), key=lambda place: (place.code is None and not place.damaged, place.location))

        def completed(most: int) -> StorageRepaired:
            told = named(ordered, most)
            return StorageRepaired(
                repair_id=self.id,
                dry_run=self.dry_run,
                degraded=any(place.code is not None or place.given_up for place in ordered),
                repaired_places=tuple(sorted(told, key=lambda place: place.location)),
                more_places=len(ordered) - len(told),
                seconds=seconds,
            )

        self.record(fitting(completed, NAMED_MAX))

    def _left_off(self, location: str) -> PlaceRepaired:
        """One that was begun and that nobody looks at any more: it is no place of the organisation's now."""
        found, code = self.found[location], errors.TIER_NOT_IN_USE
        return replace(found, code=code.code, hint=code.hint, left=found.damaged, interrupted=self.begun[location])

    def _with_earlier(self, place: PlaceRepaired, interrupted: int) -> PlaceRepaired:
        return with_earlier(place, self.found[place.location], interrupted) if interrupted > 0 else place

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
            case StorageTierRepairBegun(found_place=place):
                self.found.setdefault(place.location, place)
                self.begun[place.location] += 1
            case StorageTierRepaired(repaired_place=place):
                self.told[place.location] = place

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise PlatformError(errors.CONCURRENT_CHANGE, "the repair has ended already", repair_id=self.id)

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
