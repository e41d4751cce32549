"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.attestations.examples import ATTESTATION, ATTESTATIONS
from gateway.groups.attestations.resources import Attestation
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_attestations": Operation(
        group="Attestations",
        answers=(Answer(status=200, description="A page", body=ListPage[Attestation], examples={"one": ATTESTATIONS}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_attestation": Operation(
        group="Attestations",
        answers=(
            Answer(status=200, description="The attestation", body=Attestation, examples={"review": ATTESTATION}),
        ),
        errors=(errors.NOT_FOUND, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
}
