"""Holds: what requests and facts say of them, and which recovery points one keeps. Pure.

A hold keeps recovery points whatever a retention policy says, until it is released by two people. Two look at which
points it keeps: the executor, whose word counts, and the gateway, which shows it.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.event import Value
from contracts.sealed import Sealed

# The names under which the two are sealed (`chassis.sealing`). Pinned: the box is bound to it.
HOLD_REASON_FIELD = "hold.reason"
HOLD_MATTER_FIELD = "hold.matter"

NAMED_MAX = 200
"""So many configurations, recovery points or tags a hold may name, of each."""
TAGGED_MAX = 3_500
"""So many configurations may have a held tag when the hold is placed: they fit into an event."""


class HoldScope(Value, frozen=True, kw_only=True):
    """Which recovery points a hold keeps: those to which all applies that is said, also those to come.

    `configuration_ids`, `recovery_point_ids`: one of these; `tags`: their configuration has one of these, or had one
    when the hold was placed; `made_from`, `made_before`: their run had completed within these.
    """

    configuration_ids: Annotated[tuple[str, ...], Meta(max_length=NAMED_MAX)] = ()
    recovery_point_ids: Annotated[tuple[str, ...], Meta(max_length=NAMED_MAX)] = ()
    tags: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=NAMED_MAX)] = ()
    made_from: datetime | None = None
    made_before: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing: it would keep everything there will ever be."""
        named = self.configuration_ids or self.recovery_point_ids or self.tags
        return not named and self.made_from is None and self.made_before is None

    def covers(
        self, point_id: str, configuration_id: str, at: datetime, tags: Collection[str], tagged: Collection[str] = ()
    ) -> bool:
        """Whether a point is kept. `at`: when its run had completed; `tags`: of its configuration now.

        `tagged`: configurations that had a held tag when the hold was placed.
        """
        return (
            (not self.configuration_ids or configuration_id in self.configuration_ids)
            and (not self.recovery_point_ids or point_id in self.recovery_point_ids)
            and (not self.tags or configuration_id in tagged or any(tag in self.tags for tag in tags))
            and (self.made_from is None or at >= self.made_from)
            and (self.made_before is None or at < self.made_before)
        )


class HoldBody(Value, frozen=True, kw_only=True):
    """What a hold says. Reason and matter may carry personal data, so they are sealed.

    `review_at`: when somebody is to look whether it is still needed; nothing ends by it.
    """

    scope: HoldScope
    reason: Sealed
    matter: Sealed
    review_at: datetime
