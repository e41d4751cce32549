"""The write of the group."""

from contracts import errors
from contracts.compliance_events import ComplianceAudited, ComplianceAuditRefused
from contracts.errors import PlatformError
from contracts.gateway_events import ComplianceAuditRequested
from gateway.auth.rights import Right
from gateway.groups.compliance.examples import NEW_AUDIT
from gateway.groups.compliance.resources import NewComplianceAudit
from gateway.writes.declaration import Asked, Draft, New, Write
from gateway.writes.things import AUDIT


class AuditCompliance(Write[NewComplianceAudit]):
    """Look at the controls of frameworks, by what the audit log tells up to an instant, now or in the past.

    202 with the request, whose `resource` is the report once it is made. Of each control the verdict is `pass`, `fail`
    or `no-evidence`; the same instant asked for again has the same verdicts, as long as their evaluators are the same.
    """

    NAME = "audit-compliance"
    SUMMARY = "Audit compliance"
    PATH = "/compliance/audit"
    RIGHT = Right.AUDIT
    BODY = NewComplianceAudit
    EXAMPLE = ("gdpr", NEW_AUDIT)
    REQUEST, ACCEPTED, REFUSED = ComplianceAuditRequested, ComplianceAudited, ComplianceAuditRefused
    OF = AUDIT

    async def draft(self, asked: Asked[NewComplianceAudit]) -> Draft:
        """Each framework once, and an instant that has come."""
        now = asked.gateway.clock.now()
        wrong = []
        if asked.body.at is not None and asked.body.at > now:
            hint = "Name an instant that has passed, or none for now."
            wrong.append(PlatformError(errors.INVALID_FIELD, "the instant has not come yet", field="at", hint=hint))
        frameworks = tuple(dict.fromkeys(asked.body.frameworks))

        def event(new: New) -> ComplianceAuditRequested:
            return ComplianceAuditRequested(
                request_id=new.request_id,
                audit_id=new.resource_id,
                frameworks=frameworks,
                at=asked.body.at or now,
                evidence=new.evidence,
            )

        return Draft(event, body=asked.body, wrong=wrong)
