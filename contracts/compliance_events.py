"""What the compliance service announces. Owner: compliance."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.controls import ControlVerdict, Framework
from contracts.event import Event, Value, pinned
from contracts.refusal import Refusal

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
