"""What writes make or are about, each kind declared once."""

from dataclasses import dataclass
from typing import LiteralString

from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from gateway.projections.applied import Database
from gateway.runs.examples import (
    APPROVAL_ID,
    ATTESTATION_ID,
    AUDIT_ID,
    CHANNEL_ID,
    CLEANUP_ID,
    CONFIGURATION_ID,
    DR_EXECUTION_ID,
    DR_PLAN_ID,
    ERASURE_ID,
    EXECUTION_ID,
    HOLD_ID,
    OPERATION_ID,
    OPTIMIZATION_ID,
    REPAIR_ID,
    REQUEST_ID,
    RETENTION_POLICY_ID,
    VALIDATION_ID,
)


@dataclass(frozen=True, slots=True)
class Thing:
    """One kind. `about`: the field of its events, and the column of its read model `table`, that have its id.

    `path`: where one is shown. `missing`: the code where there is none. `example`: the id of its examples.
    """

    about: LiteralString
    table: LiteralString
    path: str
    missing: ErrorCode
    example: str

    async def check(self, database: Database, organisation: str, identity: str) -> None:
        """Raise `missing` where the organisation has none of this id."""
        query = f"SELECT 1 FROM {self.table} WHERE organisation = %s AND {self.about} = %s"  # noqa: S608  # named below
        if await (await database.execute(query, (organisation, identity))).fetchone() is None:
            raise PlatformError(self.missing, "there is nothing of this id")


RUN = Thing("execution_id", "executions", "/executions/{}", errors.NOT_FOUND, EXECUTION_ID)
RECOVERY = Thing("operation_id", "recovery_operations", "/recovery/operations/{}", errors.NOT_FOUND, OPERATION_ID)
VALIDATION = Thing("validation_id", "recovery_validations", "/recovery/validations/{}", errors.NOT_FOUND, VALIDATION_ID)
CLEANUP = Thing("cleanup_id", "retention_cleanups", "/retention/cleanups/{}", errors.NOT_FOUND, CLEANUP_ID)
OPTIMIZATION = Thing(
    "optimization_id", "storage_optimizations", "/storage/optimizations/{}", errors.NOT_FOUND, OPTIMIZATION_ID
)
REPAIR = Thing("repair_id", "storage_repairs", "/storage/repairs/{}", errors.NOT_FOUND, REPAIR_ID)
CONFIGURATION = Thing(
    "configuration_id", "configurations", "/configurations/{}", errors.CONFIGURATION_UNKNOWN, CONFIGURATION_ID
)
BULK = Thing("request_id", "requests", "/requests/{}", errors.NOT_FOUND, REQUEST_ID)
"""A write whose result is what became of what it asks for at once."""
RETENTION_POLICY = Thing(
    "retention_policy_id",
    "retention_policies",
    "/retention/policies/{}",
    errors.RETENTION_POLICY_UNKNOWN,
    RETENTION_POLICY_ID,
)
CHANNEL = Thing("channel_id", "notification_channels", "/notifications/channels/{}", errors.CHANNEL_UNKNOWN, CHANNEL_ID)
HOLD = Thing("hold_id", "retention_holds", "/retention/holds/{}", errors.HOLD_UNKNOWN, HOLD_ID)
APPROVAL = Thing("approval_id", "approvals", "/approvals/{}", errors.APPROVAL_UNKNOWN, APPROVAL_ID)
AUDIT = Thing("audit_id", "compliance_audits", "/compliance/reports/{}", errors.NOT_FOUND, AUDIT_ID)
ATTESTATION = Thing(
    "attestation_id",
    "compliance_attestations",
    "/compliance/attestations/{}",
    errors.NOT_FOUND,
    ATTESTATION_ID,
)
ERASURE = Thing("erasure_id", "subject_erasures", "/compliance/erasures/{}", errors.ERASURE_UNKNOWN, ERASURE_ID)
DR_PLAN = Thing("plan_id", "dr_plans", "/disaster-recovery/plans/{}", errors.DR_PLAN_UNKNOWN, DR_PLAN_ID)
DR_EXECUTION = Thing(
    "execution_id",
    "dr_executions",
    "/disaster-recovery/executions/{}",
    errors.DR_EXECUTION_UNKNOWN,
    DR_EXECUTION_ID,
)
