"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.holds.examples import HOLD, HOLDS
from gateway.groups.holds.resources import Hold
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_holds": Operation(
        group="Holds",
        answers=(Answer(status=200, description="A page", body=ListPage[Hold], examples={"one": HOLDS}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_hold": Operation(
        group="Holds",
        answers=(Answer(status=200, description="The hold", body=Hold, examples={"placed": HOLD}),),
        errors=(errors.HOLD_UNKNOWN, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
}
