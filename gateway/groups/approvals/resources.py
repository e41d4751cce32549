"""Approvals as the API gives them."""

from contracts.approval_events import ApprovalState, ApprovedOperation
from gateway.http.fields import Timestamp
from gateway.http.resources import Resource


class Approval(Resource, frozen=True, kw_only=True):
    """One request that waits, or waited, for a second person; it has the request's id.

    `resource`: what it is about. `askedBy` cannot grant it. `state`: `open` until `expiresAt`, then `granted`, `denied`
    or `expired`; `decidedBy`: who granted or denied it.
    """

    id: str
    operation: ApprovedOperation
    resource: str | None
    state: ApprovalState
    asked_by: str
    asked_at: Timestamp
    expires_at: Timestamp
    decided_by: str | None
    decided_at: Timestamp | None
