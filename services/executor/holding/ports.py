"""What holds and approvals need of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chassis.domain import Aggregate
from chassis.handling import Handling
from contracts.holds import HoldScope
from services.executor.holding.approval import Approval
from services.executor.holding.domain import Hold


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """What a hold would keep, at one moment. `turn`: what is compared when it is placed.

    `tagged`: the configurations with one of its tags; `kept`: how many points there are that it keeps; `too_late`:
    points among these that were decided to go and may be gone on some tier. `unknown`: the first configuration that it
    names and that is not there, `unknown_point`: the first point; `gone_point`: the first point that is gone; each by
    its place.
    """

    turn: int
    tagged: Sequence[str] = ()
    kept: int = 0
    too_late: Sequence[str] = ()
    unknown: int | None = None
    unknown_point: int | None = None
    gone_point: int | None = None


class Holds(Protocol):
    """The record of holds, and which of them are in force."""

    async def find(self, id: str, organisation: str) -> Hold | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None."""
        ...

    async def reach(self, organisation: str, scope: HoldScope) -> Reach:
        """What a hold of this scope would keep."""
        ...

    async def record_answer(self, thing: Hold, handling: Handling) -> None:
        """Record an answer and the message as handled: both or none."""
        ...

    async def record_placed(self, hold: Hold, scope: HoldScope, reach: Reach, handling: Handling) -> None:
        """Record that one is in force, for every plan from now on, and the message as handled: all or none.

        Raises CONCURRENT_CHANGE where something was decided since `reach` was looked at.
        """
        ...

    async def record_awaited(self, hold: Hold, approval: Approval, handling: Handling) -> None:
        """Record that a release waits for a second person, and when that is over: all or none."""
        ...


class Approvals(Protocol):
    """The record of approvals."""

    async def find(self, id: str, organisation: str) -> Approval | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None."""
        ...

    async def record_answer(self, thing: Approval, handling: Handling, other: Aggregate | None = None) -> None:
        """Record an answer, the message as handled and, where it is over, that nothing is waited for: all or none.

        `other`: what is done by it. Raises CONCURRENT_CHANGE.
        """
        ...
