"""What people put their names to, where nothing that the platform sees decides a control.

An attestation is evidence by somebody's word: who said it, with which factors, when, and what the audit log was then.
What it says is sealed; by its kind, by what it is about and by `holds` controls are decided.
"""

from typing import Annotated

from msgspec import Meta

from contracts.reading import Growing

# The name under which the text is sealed (`chassis.sealing`). Pinned: the box is bound to it.
STATEMENT_FIELD = "attestation.statement"
ABOUT_MAX = 100

AboutName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", max_length=63)]
"""An id, or the name of a location."""


class AttestationKind(Growing):
    """What is attested. Those of `ABOUT` name what they are about."""

    ACCESS_REVIEW = "access-review"
    AUDIT_LOG_REVIEW = "audit-log-review"
    BREACH_FOUND = "breach-found"
    BREACH_DECIDED = "breach-decided"
    CERTIFICATION = "certification"
    CHANGE_APPROVED = "change-approved"
    COPY_IN_ANOTHER_ACCOUNT = "copy-in-another-account"
    COPY_IN_ANOTHER_REGION = "copy-in-another-region"
    CYBERSECURITY_AUDIT = "cybersecurity-audit"
    DOCUMENTATION_KEPT = "documentation-kept"
    EMERGENCY_ACCESS_TESTED = "emergency-access-tested"
    EMERGENCY_PROCEDURE = "emergency-procedure"
    ENCRYPTED_TRANSMISSION = "encrypted-transmission"
    MEDIA_DISPOSED = "media-disposed"
    PLAN_APPROVED = "plan-approved"
    PLAN_REVIEWED = "plan-reviewed"
    PORTABILITY_DELIVERED = "portability-delivered"
    RECIPIENTS_TOLD = "recipients-told"
    TRANSFER_ALLOWED = "transfer-allowed"


_LOCATIONS = "names of locations"
ABOUT = {
    AttestationKind.BREACH_DECIDED: "ids of attestations `breach-found`, or of validations that found damage",
    AttestationKind.CHANGE_APPROVED: "ids of the requests that asked for the changes",
    AttestationKind.COPY_IN_ANOTHER_ACCOUNT: _LOCATIONS,
    AttestationKind.COPY_IN_ANOTHER_REGION: _LOCATIONS,
    AttestationKind.ENCRYPTED_TRANSMISSION: _LOCATIONS,
    AttestationKind.MEDIA_DISPOSED: _LOCATIONS,
    AttestationKind.PLAN_APPROVED: "ids of disaster recovery plans",
    AttestationKind.PLAN_REVIEWED: "ids of disaster recovery plans",
    AttestationKind.PORTABILITY_DELIVERED: "ids of the recoveries by which the data were taken out",
    AttestationKind.RECIPIENTS_TOLD: "ids of erasures",
    AttestationKind.TRANSFER_ALLOWED: _LOCATIONS,
}
"""What `about` names, of the kinds that say nothing without it."""
