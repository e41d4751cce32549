"""What the API takes to audit controls, and what it tells of them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.controls import ControlVerdict, Framework, Severity
from gateway.http.fields import Timestamp
from gateway.http.resources import Body, Resource

FRAMEWORKS = tuple(Framework)


class NewComplianceAudit(Body, frozen=True, kw_only=True):
    """Which frameworks are looked at; all without any. `at`: by what had happened up to then; now without it."""

    frameworks: Annotated[tuple[Framework, ...], Meta(min_length=1, max_length=len(FRAMEWORKS))] = FRAMEWORKS
    at: Timestamp | None = None


class ControlResult(Resource, frozen=True, kw_only=True):
    """What was found of one control.

    `verdict`: `pass`, `fail`, or `no-evidence`, which never counts as a pass. `evaluator`: the version of what decided,
    0 where nothing decides it yet; `query`: the events that it looked at, `examined`: how many of them, `evidence`: the
    ids of those that decide, twenty at most. `remedy`: what to do; null where it passes. `citation`, `asked`,
    `severity`: null of a control that this gateway does not know.
    """

    control: str
    verdict: ControlVerdict
    because: str
    framework: Framework | None
    citation: str | None
    asked: str | None
    severity: Severity | None
    remedy: str | None
    evaluator: int
    query: str
    examined: int
    evidence: list[str]


class Counts(Resource, frozen=True, kw_only=True):
    """How many controls have which verdict. `score`: of a hundred, so many pass, rounded down."""

    passed: int
    failed: int
    no_evidence: int
    score: int


class ComplianceReportSummary(Resource, frozen=True, kw_only=True):
    """One audit, without what it found of each control."""

    id: str
    request_id: str
    requested_by: str | None
    frameworks: list[Framework]
    at: Timestamp
    audited_at: Timestamp
    counts: Counts


class ComplianceReport(ComplianceReportSummary, frozen=True, kw_only=True):
    """One audit: by what had happened up to `at`, at an audit log of `logSize` entries with the root `logRoot`."""

    log_size: int
    log_root: str | None
    results: list[ControlResult]


class FrameworkStatus(Resource, frozen=True, kw_only=True):
    """How one framework stood when it was last audited; all null where it never was: nobody knows how it stands.

    `failing`: the controls that failed.
    """

    framework: Framework
    report_id: str | None = None
    at: Timestamp | None = None
    audited_at: Timestamp | None = None
    counts: Counts | None = None
    failing: list[str] = msgspec.field(default_factory=list)


class ComplianceStatus(Resource, frozen=True, kw_only=True):
    """Every framework, as its latest audit has found it. It is no legal advice."""

    frameworks: list[FrameworkStatus]
