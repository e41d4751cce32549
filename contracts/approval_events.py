"""What the executor announces about what waits for a second person. Owner: executor.

An approval is asked for by the request that needs it, and has its id. It is open until it is granted, denied, or its
time is over: once, and nothing changes it afterwards. What it allows is done in the transaction that grants it.
"""

from datetime import datetime

from contracts.event import Event, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal


class ApprovedOperation(Growing):
    """What a second person is needed for."""

    RELEASE_HOLD = "release-hold"


class ApprovalState(Growing):
    """Where an approval is."""

    OPEN = "open"
    GRANTED = "granted"
    DENIED = "denied"
    EXPIRED = "expired"


class ApprovalFact(Event, frozen=True, kw_only=True):
    """The base of what is said of an approval."""

    approval_id: str


@pinned("executor.approval-asked.v1")
class ApprovalAsked(ApprovalFact, frozen=True, kw_only=True):
    """A request waits for a second person until `expires_at`. `subject_id`: of what it is about.

    `asked_by`: who may not approve it.
    """

    operation: ApprovedOperation
    subject_id: str
    asked_by: str
    expires_at: datetime


@pinned("executor.approval-granted.v1")
class ApprovalGranted(ApprovalFact, frozen=True, kw_only=True):
    """A second person has approved, and what was asked for is done."""

    request_id: str
    granted_by: str


@pinned("executor.approval-grant-refused.v1")
class ApprovalGrantRefused(Refusal, frozen=True, kw_only=True):
    """An approval was not granted: nothing was done by it."""

    approval_id: str


@pinned("executor.approval-denied.v1")
class ApprovalDenied(ApprovalFact, frozen=True, kw_only=True):
    """Somebody said no, or whoever had asked took it back: what was asked for is not done."""

    request_id: str
    denied_by: str


@pinned("executor.approval-denial-refused.v1")
class ApprovalDenialRefused(Refusal, frozen=True, kw_only=True):
    """An approval was not denied: it is over, or there is none of this id."""

    approval_id: str


@pinned("executor.approval-expired.v1")
class ApprovalExpired(ApprovalFact, frozen=True, kw_only=True):
    """Nobody said yes in time: what was asked for is not done."""
