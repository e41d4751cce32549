"""What cleanups need of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from chassis.claims.port import Claim, WorkRecord
from chassis.context import Context
from chassis.handling import Handling
from chassis.life.signs import Signs
from contracts.cleanup_events import GoingPoint, PlaceCleaned, PlaceHeld
from contracts.config_events import RetentionPolicyFact
from contracts.gateway_events import SeenVersion
from contracts.recovery_events import RecoveryFact
from services.executor.retention.domain import RetentionCleanup
from services.executor.retention.plans import Assessment, Knowledge


class Knowing(Protocol):
    """What the executor keeps of points, configurations and policies."""

    async def of(self, organisation: str, configuration_ids: Sequence[str]) -> Knowledge:
        """What is known of these configurations; none: of all. Raises CONCURRENT_CHANGE: a policy has not arrived."""
        ...

    async def lacking(self, organisation: str, configuration_ids: Sequence[str]) -> str | None:
        """The first of these that has not arrived here, or is another organisation's."""
        ...

    async def behind(self, organisation: str, seen: Sequence[SeenVersion]) -> str | None:
        """The first of these configurations and policies of which only older versions have arrived here."""
        ...

    async def remember_reader(self, fact: RecoveryFact, handling: Handling) -> None:
        """Take note of a recovery that was accepted, or is over, in whichever order that is told."""
        ...

    async def remember_policy(self, fact: RetentionPolicyFact, handling: Handling) -> None:
        """Take note of a policy's version, in whichever order they are told."""
        ...


class Cleanups(WorkRecord[RetentionCleanup], Protocol):
    """The record of cleanups."""

    async def find(self, id: str, organisation: str) -> RetentionCleanup | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None."""
        ...

    async def record_answer(self, thing: RetentionCleanup, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none."""
        ...

    async def record_accepted(self, cleanup: RetentionCleanup, handling: Handling) -> None:
        """Record that one is taken on, the message as handled, and open its claim: all or none. Raises CleanupBusy."""
        ...

    async def record_going(
        self, thing: RetentionCleanup, points: Sequence[GoingPoint], turn: int, *, context: Context
    ) -> None:
        """Record that points were decided to go, by what was known at this turn.

        Raises CONCURRENT_CHANGE where a hold was placed since: what was decided is to be judged again.
        """
        ...

    async def record_gone(self, thing: RetentionCleanup, points: Sequence[GoingPoint], *, context: Context) -> None:
        """Record that points are gone, and let no plan see them again: both or none."""
        ...

    async def record_end(self, thing: RetentionCleanup, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim: both or none. Raises CLAIM_LOST where the fence was passed."""
        ...


class OpenCleanup(Protocol):
    """An organisation's repository, opened where it is remembered. Blocking calls; made in a thread."""

    def assess(self, known: Knowledge, decided: Mapping[str, GoingPoint], now: datetime) -> Assessment:
        """Look at what the tiers have, hold, lock and are read from, and plan. Raises RETENTION_CLOCK_IN_DOUBT."""
        ...

    def forget(self, points: Sequence[GoingPoint]) -> Sequence[str]:
        """Have each tier that answers forget them; at which locations. None: a hold came for one of them."""
        ...

    def hold(self, known: Knowledge) -> Sequence[PlaceHeld]:
        """Have each tier's log and store follow the holds, and say of every location what it holds."""
        ...

    def left_out(self) -> Sequence[PlaceCleaned]:
        """The locations that do not take part, each with why: what was looked at says nothing of them."""
        ...

    def prune(self) -> Sequence[PlaceCleaned]:
        """Delete what nothing needs any more, and say of every location what was done."""
        ...

    def close(self) -> None:
        """Give the tiers back."""
        ...


class CleanupPlane(Protocol):
    """The repository, seen from a cleanup."""

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> OpenCleanup | None:
        """Open the tiers; None where the organisation has none. Raises what keeps it from that."""
        ...
