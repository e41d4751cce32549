"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.validations import examples
from gateway.groups.validations.resources import RecoveryValidation, RecoveryValidationView
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_validations": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[RecoveryValidation],
                examples={"one": examples.VALIDATIONS},
            ),
        ),
        errors=(
            errors.CONFIGURATION_UNKNOWN,
            errors.RECOVERY_POINT_UNKNOWN,
            errors.INVALID_CURSOR,
            errors.KEYS_UNUSABLE,
            errors.KEYS_UNREACHABLE,
        ),
    ),
    "show_validation": Operation(
        group="Recovery",
        answers=(
            Answer(
                status=200,
                description="The validation",
                body=RecoveryValidationView,
                examples={"damaged": examples.SHOWN},
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
}
