"""What repairs need of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Collection, Mapping
from typing import Protocol

from chassis.claims.port import Claim, WorkRecord
from chassis.context import Context
from chassis.handling import Handling
from contracts.repair_events import PlaceRepaired
from services.executor.repairing.domain import StorageRepair


class KeptAt(Protocol):
    """Where something of an organisation is kept, as its runs have noted."""

    async def locations(self, organisation: str) -> Collection[str]:
        """The names of the locations."""
        ...


class Repairs(WorkRecord[StorageRepair], Protocol):
    """The record of repairs."""

    async def find(self, id: str, organisation: str) -> StorageRepair | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None."""
        ...

    async def record_answer(self, thing: StorageRepair, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none."""
        ...

    async def record_accepted(self, repair: StorageRepair, handling: Handling) -> None:
        """Record that one is taken on, the message as handled, and open its claim: all or none. Raises RepairBusy."""
        ...

    async def record_end(self, thing: StorageRepair, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim: both or none. Raises CLAIM_LOST where the fence was passed."""
        ...


class OpenRepair(Protocol):
    """An organisation's repository, opened where it is remembered. Blocking calls; made in a thread."""

    def look(
        self, locations: Collection[str], read_percent: int, without: Collection[str]
    ) -> Mapping[str, PlaceRepaired]:
        """What is damaged at these locations, or at all where none is named, and from where it can be had.

        `without`: these are left alone. One that cannot be looked at is told with its code.
        """
        ...

    def repair(self, location: str) -> PlaceRepaired:
        """Make whole what was found damaged at a location, as far as can be, and say what is left."""
        ...

    def close(self) -> None:
        """Give the tiers back."""
        ...
