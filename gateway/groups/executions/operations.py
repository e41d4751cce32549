"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.executions.examples import EXECUTIONS, PROGRESS, STATUS
from gateway.groups.executions.resources import ProgressView, Status
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation
from gateway.runs.examples import ACCEPTED, COMPLETED, HINDERED
from gateway.runs.resources import Execution

OPERATIONS = {
    "list_executions": Operation(
        group="Executions",
        answers=(Answer(status=200, description="A page", body=ListPage[Execution], examples={"one": EXECUTIONS}),),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_execution": Operation(
        group="Executions",
        answers=(
            Answer(
                status=200,
                description="The run",
                body=Execution,
                examples={"completed": COMPLETED, "accepted": ACCEPTED, "waiting": HINDERED},
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_progress": Operation(
        group="Executions",
        answers=(Answer(status=200, description="The progress", body=ProgressView, examples={"running": PROGRESS}),),
        errors=(errors.NOT_FOUND,),
    ),
    "show_status": Operation(
        group="Status",
        answers=(Answer(status=200, description="The status", body=Status, examples={"running": STATUS}),),
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
}
