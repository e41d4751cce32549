"""Examples of the group's answers: typed, so that they cannot drift from what the API gives."""

from contracts.approval_events import ApprovalState, ApprovedOperation
from gateway.groups.approvals.resources import Approval
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, APPROVAL_ID, HOLD_ID, at

APPROVAL = Approval(
    id=APPROVAL_ID,
    operation=ApprovedOperation.RELEASE_HOLD,
    resource=f"/api/backup/retention/holds/{HOLD_ID}",
    state=ApprovalState.OPEN,
    asked_by=ACTOR,
    asked_at=at(7200),
    expires_at=at(7200 + 86_400),
    decided_by=None,
    decided_at=None,
)

APPROVALS = ListPage[Approval](items=[APPROVAL])
