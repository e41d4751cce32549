"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.security import examples
from gateway.groups.security.resources import (
    Access,
    AuditConsistency,
    AuditEntries,
    AuditLog,
    AuditProof,
    RecoveryReceipt,
)
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

OPERATIONS = {
    "list_accesses": Operation(
        group="Security",
        answers=(Answer(status=200, description="A page", body=ListPage[Access], examples={"two": examples.ACCESSES}),),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_audit_log": Operation(
        group="Security",
        answers=(Answer(status=200, description="The log", body=AuditLog, examples={"two entries": examples.LOG}),),
        errors=(),
    ),
    "list_audit_entries": Operation(
        group="Security",
        answers=(Answer(status=200, description="A page", body=AuditEntries, examples={"all": examples.ENTRIES}),),
        errors=(errors.NOT_FOUND,),
    ),
    "prove_audit_entry": Operation(
        group="Security",
        answers=(Answer(status=200, description="The proof", body=AuditProof, examples={"of two": examples.PROOF}),),
        errors=(errors.NOT_FOUND,),
    ),
    "prove_audit_consistency": Operation(
        group="Security",
        answers=(
            Answer(
                status=200,
                description="The proof",
                body=AuditConsistency,
                examples={"one to two": examples.CONSISTENCY},
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_recovery_receipt": Operation(
        group="Security",
        answers=(
            Answer(status=200, description="The receipt", body=RecoveryReceipt, examples={"two": examples.RECEIPT}),
        ),
        errors=(errors.DR_EXECUTION_UNKNOWN, errors.DR_RECEIPT_NOT_YET),
    ),
}
