"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.controls import CONTROLS, ControlVerdict, Framework
from gateway.groups.compliance.resources import (
    ComplianceReport,
    ComplianceReportSummary,
    ComplianceStatus,
    ControlResult,
    Counts,
    FrameworkStatus,
    NewComplianceAudit,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, AUDIT_ID, EXECUTION_ID, REQUEST_ID, at

NEW_AUDIT = NewComplianceAudit(frameworks=(Framework.GDPR,))


def _result(control: str, verdict: ControlVerdict, because: str, *evidence: str, query: str = "") -> ControlResult:
    known = CONTROLS[control]
    return ControlResult(
        control=control,
        verdict=verdict,
        because=because,
        framework=known.framework,
        citation=known.citation,
        asked=known.asked,
        severity=known.severity,
        remedy=None if verdict is ControlVerdict.PASS else known.remedy,
        evaluator=1 if query else 0,
        query=query,
        examined=len(evidence),
        evidence=list(evidence),
    )


_COUNTS = Counts(passed=1, failed=0, no_evidence=1, score=50)
SUMMARY = ComplianceReportSummary(
    id=AUDIT_ID,
    request_id=REQUEST_ID,
    requested_by=ACTOR,
    frameworks=[Framework.GDPR],
    at=at(7200),
    audited_at=at(7201),
    counts=_COUNTS,
)
REPORT = ComplianceReport(
    **{name: getattr(SUMMARY, name) for name in SUMMARY.__struct_fields__},
    log_size=4712,
    log_root="bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
    results=[
        _result(
            "GDPR-32d",
            ControlVerdict.PASS,
            "1 plans were tested within the last 90 days: all came back, whole and within the target",
            EXECUTION_ID,
            query="dr.dr-test-started.v1, dr.dr-step-ended.v1, dr.dr-execution-completed.v1, dr.dr-execution-failed.v1",
        ),
        _result("GDPR-33", ControlVerdict.NO_EVIDENCE, "nothing that the platform records decides this yet"),
    ],
)
REPORTS = ListPage[ComplianceReportSummary](items=[SUMMARY])
STATUS = ComplianceStatus(
    frameworks=[
        FrameworkStatus(framework=Framework.GDPR, report_id=AUDIT_ID, at=at(7200), audited_at=at(7201), counts=_COUNTS),
        *(FrameworkStatus(framework=each) for each in Framework if each is not Framework.GDPR),
    ]
)
