"""Holds as the API takes and gives them. Texts whose key was destroyed are null."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.holds import NAMED_MAX
from gateway.http.fields import Printable, TagText, Timestamp, Uuid
from gateway.http.resources import Body, Resource


class NewHold(Body, frozen=True, kw_only=True):
    """Which recovery points stay, whatever a retention policy says: those to which all applies that is said.

    `configurationIds`, `recoveryPointIds`: one of these; `tags`: their configuration has one of these; `madeFrom`,
    `madeBefore`: their run had completed within these. Those to come count as well. `reason`, `matter`: why, and what
    it belongs to (a case, a request), both kept encrypted. `reviewAt`: when somebody is to look whether it is still
    needed; nothing ends by it.
    """

    reason: Printable
    matter: Printable
    review_at: Timestamp
    configuration_ids: Annotated[tuple[Uuid, ...], Meta(max_length=NAMED_MAX)] = ()
    recovery_point_ids: Annotated[tuple[Uuid, ...], Meta(max_length=NAMED_MAX)] = ()
    tags: Annotated[tuple[TagText, ...], Meta(max_length=NAMED_MAX)] = ()
    made_from: Timestamp | None = None
    made_before: Timestamp | None = None


class HoldState(StrEnum):
    """Whether a hold keeps anything."""

    PLACED = "placed"
    RELEASED = "released"


class Hold(Resource, frozen=True, kw_only=True):
    """A hold. `kept`: how many recovery points it kept when it was placed.

    `tooLate`: how many of those a cleanup had decided to let go before, which may be gone for that; `tooLatePoints`
    names the first thousand. `approvalId`: by which its release was asked for last. `isReviewDue`: `reviewAt` is over.
    `unreadableFields` are null for want of a key.
    """

    id: str
    version: int
    state: HoldState
    reason: str | None
    matter: str | None
    review_at: Timestamp
    is_review_due: bool
    configuration_ids: list[str]
    recovery_point_ids: list[str]
    tags: list[str]
    made_from: Timestamp | None
    made_before: Timestamp | None
    kept: int
    too_late: int
    too_late_points: list[str]
    placed_by: str
    placed_at: Timestamp
    approval_id: str | None
    released_at: Timestamp | None
    unreadable_fields: list[str] = msgspec.field(default_factory=list)
