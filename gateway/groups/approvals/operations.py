"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.approvals.examples import APPROVAL, APPROVALS
from gateway.groups.approvals.resources import Approval
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_approvals": Operation(
        group="Approvals",
        answers=(Answer(status=200, description="A page", body=ListPage[Approval], examples={"one": APPROVALS}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_approval": Operation(
        group="Approvals",
        answers=(Answer(status=200, description="The approval", body=Approval, examples={"open": APPROVAL}),),
        errors=(errors.APPROVAL_UNKNOWN,),
    ),
}
