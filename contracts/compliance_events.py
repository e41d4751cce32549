"""What the compliance service announces. Owner: compliance."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.attestations import AttestationKind
from contracts.controls import ControlVerdict, Framework
from contracts.event import Event, Value, pinned
from contracts.refusal import Refusal
from contracts.sealed import Sealed

EVIDENCE_MAX = 20
"""So many events are named of a control; `examined` says how many there were."""


class ControlFinding(Value, frozen=True, kw_only=True):
    """What was found of one control (`contracts.controls`).

    `evaluator`: the version of what decided, 0 where nobody evaluates the control yet. `query`: which events it looked
    at. `evidence`: the ids of those that decide, what fails first. `because`: why, in words.
    """

    control: str
    verdict: ControlVerdict
    because: str
    evaluator: Annotated[int, Meta(ge=0)] = 0
    query: str = ""
    examined: Annotated[int, Meta(ge=0)] = 0
    evidence: tuple[str, ...] = ()


@pinned("compliance.compliance-audited.v1")
class ComplianceAudited(Event, frozen=True, kw_only=True):
    """Controls were looked at, by what had happened up to `at` and was in the audit log.

    `log_size`, `log_root`: the organisation's audit log that it was looked up in (base64), none of an empty one.
    """

    request_id: str
    audit_id: str
    frameworks: tuple[Framework, ...]
    at: datetime
    log_size: Annotated[int, Meta(ge=0)]
    log_root: str | None
    findings: tuple[ControlFinding, ...]


@pinned("compliance.compliance-audit-refused.v1")
class ComplianceAuditRefused(Refusal, frozen=True, kw_only=True):
    """An audit was not made."""

    audit_id: str


@pinned("compliance.attestation-recorded.v1")
class AttestationRecorded(Event, frozen=True, kw_only=True):
    """Somebody's word is evidence from now on. `attested_by`: whose; `holds`: whether it is as it has to be.

    `log_size`, `log_root`: what the organisation's audit log was when they said so (base64), as it was signed.
    """

    request_id: str
    attestation_id: str
    kind: AttestationKind
    holds: bool
    about: tuple[str, ...]
    statement: Sealed
    attested_by: str
    log_size: Annotated[int, Meta(ge=0)]
    log_root: str | None
    happened_at: datetime | None = None


@pinned("compliance.attestation-refused.v1")
class AttestationRefused(Refusal, frozen=True, kw_only=True):
    """An attestation was not recorded: it is no evidence."""

    attestation_id: str
