"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.erasures.examples import ERASURE, ERASURES, RECEIPT
from gateway.groups.erasures.resources import Erasure, ErasureReceipt
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_erasures": Operation(
        group="Erasures",
        answers=(Answer(status=200, description="A page", body=ListPage[Erasure], examples={"one": ERASURES}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_erasure": Operation(
        group="Erasures",
        answers=(Answer(status=200, description="The erasure", body=Erasure, examples={"completed": ERASURE}),),
        errors=(errors.ERASURE_UNKNOWN, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "get_erasure_receipt": Operation(
        group="Erasures",
        answers=(
            Answer(
                status=200,
                description="The receipt, as it was signed",
                body=ErasureReceipt,
                examples={"signed": RECEIPT},
            ),
        ),
        errors=(errors.ERASURE_UNKNOWN, errors.ERASURE_RECEIPT_NONE),
    ),
}
