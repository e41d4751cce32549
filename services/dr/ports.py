"""What the disaster recovery service's inside needs of the outside. All calls may raise `PlatformError`."""

from collections.abc import Iterable, Sequence
from typing import Protocol


class Targets(Protocol):
    """The registry of locations (`chassis.locations`)."""

    async def not_open(self, wanted: Iterable[tuple[str, str]], organisation: str) -> Sequence[str]:
        """Those of some names, each with its role, that are no location open to the organisation."""
        ...
