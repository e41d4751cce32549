"""What the disaster recovery service's inside needs of the outside. All calls may raise `PlatformError`."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol


class Targets(Protocol):
    """The registry of locations (`chassis.locations`)."""

    async def not_open(self, wanted: Iterable[tuple[str, str]], organisation: str) -> Sequence[str]:
        """Those of some names, each with its role, that are no location open to the organisation."""
        ...


class Time(Protocol):
    """The database's time, by which schedules go."""

    async def now(self) -> datetime:
        """What time it is."""
        ...
