"""What becomes of a message of a stream, an entry of the audit log, whatever it is; and what answers an audit."""

import base64
from datetime import UTC, datetime

from chassis.auditlog.tree import leaf_hash
from chassis.handling import Handling
from contracts import errors
from contracts.attestations import AttestationKind
from contracts.compliance_events import (
    AttestationRecorded,
    AttestationRefused,
    ComplianceAudited,
    ComplianceAuditRefused,
)
from contracts.compliance_requests import AttestationSubmitted
from contracts.controls import Framework
from contracts.envelope import MalformedEvent, decode
from contracts.gateway_events import ComplianceAuditRequested
from contracts.refusal import Objection
from services.compliance.controls.audit import audited, checks_log, read_by
from services.compliance.domain import UNREADABLE, Attestation, ComplianceAudit, Entry
from services.compliance.errors import AuditLogBehind
from services.compliance.policies import access_of
from services.compliance.ports import AttestationRecord, AuditLogReading, Audits

_NOBODY_KNOWS_WHEN = datetime.fromtimestamp(0, UTC)
TEXT_MAX = 500
"""Characters of an organisation, id, type or actor: more than any has, and less than an index takes."""


def entry_of(service: str, log: str, position: int, body: bytes, arrived: datetime | None) -> Entry:
    """An event as an entry. What is no envelope is an entry of the platform's log all the same.

    So is one with a text that is no id or name of any build's: whoever publishes under a service's key may write
    anything there, and a table or an index that does not take it would take nothing behind it either.
    """
    leaf = leaf_hash(body)
    try:
        envelope = decode(body)
        if not all(_is_short(text) for text in (envelope.organisation, envelope.id, envelope.type, envelope.actor)):
            raise MalformedEvent("a text is too long, or has what no table takes")
    except MalformedEvent:
        return Entry(
            service=service,
            log=log,
            position=position,
            organisation="",
            event_id="",
            type=UNREADABLE,
            happened_at=arrived or _NOBODY_KNOWS_WHEN,
            actor="",
            access=None,
            leaf=leaf,
            body=body,
        )
    return Entry(
        service=service,
        log=log,
        position=position,
        organisation=envelope.organisation,
        event_id=envelope.id,
        type=envelope.type,
        happened_at=envelope.time,
        actor=envelope.actor,
        access=access_of(envelope.type, envelope.data),
        leaf=leaf,
        body=body,
    )


def _is_short(text: str) -> bool:
    return len(text) <= TEXT_MAX and "\0" not in text


class AuditDecisions:
    """Answers requested audits."""

    def __init__(self, log: AuditLogReading, audits: Audits) -> None:
        self._log = log
        self._audits = audits

    async def decide(self, request: ComplianceAuditRequested, handling: Handling) -> None:
        """Look at the controls, and record what was found. Raises AUDIT_LOG_BEHIND to be asked again later."""
        organisation, audit = handling.context.organisation, ComplianceAudit(request.audit_id)
        if not set(request.frameworks) <= set(Framework):
            hint = "Ask for those that the API's document names; a newer gateway runs beside an older service."
            why = Objection(errors.INVALID_FIELD, "frameworks", hint)
            audit.record(ComplianceAuditRefused.of(request, why))
            await self._audits.record_answer(audit, handling)
            return
        if not await self._log.has(organisation, handling.handled.event_id, ComplianceAuditRequested):
            raise AuditLogBehind(request.audit_id)
        facts = await self._log.facts(
            organisation,
            request.at,
            read_by(request.frameworks),
            checks_log=checks_log(request.frameworks),
        )
        audit.record(
            ComplianceAudited(
                request_id=request.request_id,
                audit_id=request.audit_id,
                frameworks=request.frameworks,
                at=request.at,
                log_size=facts.log.size,
                log_root=None if facts.log.root is None else base64.b64encode(facts.log.root).decode(),
                findings=audited(request.frameworks, facts),
            )
        )
        await self._audits.record_answer(audit, handling)


class AttestationDecisions:
    """Takes people's word, with what the audit log was when they gave it."""

    def __init__(self, log: AuditLogReading, attestations: AttestationRecord) -> None:
        self._log = log
        self._attestations = attestations

    async def decide(self, request: AttestationSubmitted, handling: Handling) -> None:
        """Record it, as of the log that was signed last."""
        attestation = Attestation(request.attestation_id)
        if request.kind not in set(AttestationKind):
            hint = "Attest a kind that the API's document names; a newer gateway runs beside an older service."
            attestation.record(AttestationRefused.of(request, Objection(errors.INVALID_FIELD, "kind", hint)))
        else:
            size, root = await self._log.signed(handling.context.organisation)
            attestation.record(
                AttestationRecorded(
                    request_id=request.request_id,
                    attestation_id=request.attestation_id,
                    kind=request.kind,
                    holds=request.holds,
                    about=request.about,
                    statement=request.statement,
                    attested_by=handling.actor,
                    log_size=size,
                    log_root=root,
                    happened_at=request.happened_at,
                )
            )
        await self._attestations.record_answer(attestation, handling)
