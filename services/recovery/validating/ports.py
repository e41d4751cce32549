"""What validations need of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from chassis.claims.port import Claim, ProgressReport, WorkRecord
from chassis.context import Context
from chassis.deciding import Things
from chassis.handling import Handling
from chassis.life.signs import Signs
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import Found, ValidationOrder


class Validations(Things[RecoveryValidation], WorkRecord[RecoveryValidation], Protocol):
    """The record of validations. What becomes of the claim of one is recorded with the answer."""

    async def record_accepted(
        self, validation: RecoveryValidation, handling: Handling, *, order: ValidationOrder
    ) -> None:
        """Record that one is taken on, the message as handled, and open its claim: all or none.

        Raises VALIDATION_OPEN where another one of the point has not ended, and CONCURRENT_CHANGE.
        """
        ...

    async def record_end(self, thing: RecoveryValidation, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim: both or none. Raises CLAIM_LOST where the fence was passed."""
        ...


class PointsOfSnapshots(Protocol):
    """Which recovery points there are."""

    async def of_snapshots(self, organisation: str, snapshots: Collection[str]) -> dict[str, str]:
        """The ids of the organisation's recovery points, by their snapshots."""
        ...


class OpenValidation(Protocol):
    """The tiers of a recovery point, those that answer. Blocking calls; made in a thread."""

    def read(self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]) -> Found:
        """Read as deep as was asked for. Raises the tiers' code where none of them can be looked at."""
        ...

    def close(self) -> None:
        """Give the tiers back."""
        ...


class ValidationPlane(Protocol):
    """The repository, seen from a validation."""

    def open(self, claim: Claim, order: ValidationOrder, signs: Signs) -> OpenValidation:
        """Open keys and tiers. Raises what keeps all of them from being looked at."""
        ...
