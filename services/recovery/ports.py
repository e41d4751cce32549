"""What the recovery service's inside needs of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from chassis.claims.port import Claim, ProgressReport, WorkRecord
from chassis.context import Context
from chassis.deciding import Things
from chassis.handling import Handling
from chassis.life.signs import Signs
from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.config_events import ConfigurationFact
from contracts.erasure_events import RecoveryPointsErased
from contracts.executor_events import BackupCompleted
from contracts.recovery_events import RecoveryTotals
from contracts.refusal import Objection
from services.recovery.domain import RecoveryOperation
from services.recovery.kept import KeptPoint, Order


class Operations(Things[RecoveryOperation], WorkRecord[RecoveryOperation], Protocol):
    """The record of recoveries. What becomes of the claim of one is recorded with the answer."""

    async def record_accepted(
        self, operation: RecoveryOperation, handling: Handling, *, target: str, order: Order
    ) -> None:
        """Record that one is taken on, the message as handled, and open its claim: all or none.

        `target`: what no other open one may write to. Raises `TargetBusy`, and CONCURRENT_CHANGE.
        """
        ...

    async def record_end(self, thing: RecoveryOperation, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim: both or none. Raises CLAIM_LOST where the fence was passed."""
        ...


class Points(Protocol):
    """What is known of recovery points, fed by the facts of runs and configurations."""

    async def find(self, recovery_point_id: str, organisation: str) -> KeptPoint | None:
        """A point of an organisation, or None."""
        ...

    async def remember(self, completed: BackupCompleted, handling: Handling) -> None:
        """Keep what a run has made. Durable, once per message."""
        ...

    async def forget(self, gone: RecoveryPointsForgotten | RecoveryPointsErased, handling: Handling) -> None:
        """Keep that these cannot be restored any more. Durable, in any order, once per message."""
        ...

    async def remember_places(self, fact: ConfigurationFact, handling: Handling) -> None:
        """Keep where a version of a configuration puts its tiers. Durable, in any order, once per message."""
        ...


class Targets(Protocol):
    """Looks at a target before a recovery is taken on."""

    async def examined(self, organisation: str, order: Order) -> Objection | str:
        """What speaks against writing there, or a keyed digest of the very folder, whatever name it was given."""
        ...


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore has done. `is_whole`: every byte that was asked for is there; `has_losses`: less than it was.

    `asked`: how many paths the scope has; `unmatched`: how many of them nothing in the point matches.
    """

    totals: RecoveryTotals
    missing_in_point: int
    is_whole: bool
    has_losses: bool
    asked: int = 0
    unmatched: int = 0


class OpenRestore(Protocol):
    """A recovery whose target, keys and tiers were found usable. Blocking calls; made in a thread."""

    def restore(self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]) -> Restored:
        """Write the target and read it back; goes on with what an interrupted attempt has left."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class DataPlane(Protocol):
    """The repository, seen from a recovery."""

    def open(self, claim: Claim, order: Order, signs: Signs) -> OpenRestore:
        """Check target, keys and tiers. Raises the code that keeps the recovery from beginning."""
        ...
