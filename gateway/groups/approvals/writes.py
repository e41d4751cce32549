"""The writes of the group."""

from contracts import approval_events as facts
from contracts import errors
from contracts import gateway_events as requests
from gateway.auth.rights import Right
from gateway.writes.declaration import Write
from gateway.writes.things import APPROVAL


class GrantApproval(Write[None]):
    """Approve what another person of the organisation has asked for: it is done with this, once.

    Whoever asked for it cannot (`second-person-needed`). What is over, or about something that has changed since, is
    not approved any more. 202 with the request, whose `resource` is the approval.
    """

    NAME = "grant-approval"
    SUMMARY = "Approve what another person has asked for"
    PATH = "/approvals/{approval_id:str}/approve"
    RIGHT = Right.APPROVE
    SECOND_FACTOR = True
    REQUEST, ACCEPTED, REFUSED = (
        requests.ApprovalGrantRequested,
        facts.ApprovalGranted,
        facts.ApprovalGrantRefused,
    )
    OF = APPROVAL
    REFUSALS = (errors.SECOND_PERSON_NEEDED, errors.APPROVAL_OVER, errors.APPROVAL_OUTDATED, errors.HOLD_RELEASED)


class DenyApproval(Write[None]):
    """Say no to what somebody has asked for, or take back what you have asked for yourself: it is not done."""

    NAME = "deny-approval"
    SUMMARY = "Deny what somebody has asked for"
    PATH = "/approvals/{approval_id:str}/deny"
    RIGHT = Right.APPROVE
    REQUEST, ACCEPTED, REFUSED = (
        requests.ApprovalDenialRequested,
        facts.ApprovalDenied,
        facts.ApprovalDenialRefused,
    )
    OF = APPROVAL
    REFUSALS = (errors.APPROVAL_OVER,)
