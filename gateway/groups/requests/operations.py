"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.openapi.operation import Answer, Operation
from gateway.writes.examples import ACCEPTED_REQUEST, PENDING, REFUSED_REQUEST
from gateway.writes.resources import WriteRequest

OPERATIONS = {
    "show_request": Operation(
        group="Requests",
        answers=(
            Answer(
                status=200,
                description="The request",
                body=WriteRequest,
                examples={
                    "accepted": ACCEPTED_REQUEST,
                    "pending": PENDING,
                    "refused": REFUSED_REQUEST,
                },
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
}
