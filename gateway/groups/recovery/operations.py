"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.recovery import examples
from gateway.groups.recovery.resources import RecoveryOperation, RecoveryOperationView, RecoveryPoint
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

_OF_LISTS = (errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE)

OPERATIONS = {
    "list_recovery_points": Operation(
        group="Recovery",
        answers=(
            Answer(status=200, description="A page", body=ListPage[RecoveryPoint], examples={"one": examples.POINTS}),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, *_OF_LISTS),
    ),
    "show_recovery_point": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The recovery point",
                body=RecoveryPoint,
                examples={"one": examples.POINT},
            ),
        ),
        errors=(errors.RECOVERY_POINT_UNKNOWN,),
    ),
    "list_recoveries": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[RecoveryOperation],
                examples={"one": examples.OPERATIONS},
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.RECOVERY_POINT_UNKNOWN, *_OF_LISTS),
    ),
    "show_recovery": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The recovery",
                body=RecoveryOperationView,
                examples={"completed": examples.SHOWN},
            ),
        ),
        errors=(errors.NOT_FOUND, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
}
