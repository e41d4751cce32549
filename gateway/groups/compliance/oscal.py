"""A report as OSCAL assessment results (NIST, JSON), for tools that gather the results of many assessors.

OSCAL knows two states: what is not proven is `not-satisfied`, and the property `verdict` tells *fail* and *no evidence*
apart. The document of a report is always the same one: its ids follow from the report's.
"""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from contracts.controls import ControlVerdict
from gateway.groups.compliance.resources import ComplianceReport, ControlResult

OSCAL_VERSION = "1.2.1"
NAMESPACE = "urn:wedsync:backup:compliance"
_REASONS = {ControlVerdict.PASS: "pass", ControlVerdict.FAIL: "fail"}


def oscal_of(report: ComplianceReport) -> dict[str, Any]:
    """The document."""
    names = ", ".join(each.value.upper() for each in report.frameworks)
    made = report.audited_at.isoformat()
    plan = _id(report, "plan")
    metadata = {
        "title": f"Compliance report: {names}",
        "last-modified": made,
        "version": report.id,
        "oscal-version": OSCAL_VERSION,
        "remarks": "This report is made from what the platform has recorded. It is no legal advice.",
    }
    result = _filled(
        {
            "uuid": _id(report, "result"),
            "title": f"Controls of {names}",
            "description": "By the events that the audit log had of the organisation up to the instant `as-of`.",
            "start": made,
            "end": made,
            "props": _properties(
                **{"as-of": report.at.isoformat(), "log-size": str(report.log_size), "log-root": report.log_root or ""},
            ),
            "reviewed-controls": {
                "control-selections": [{"include-controls": [{"control-id": each.control} for each in report.results]}]
            },
            "observations": [_observation(report, each) for each in report.results],
            "findings": [_finding(report, each) for each in report.results],
        }
    )
    described = "The platform's own list of controls: it is declared with the platform, and no document of its own."
    return {
        "assessment-results": {
            "uuid": _id(report, "document"),
            "metadata": metadata,
            "import-ap": {"href": f"#{plan}"},
            "results": [result],
            "back-matter": {"resources": [{"uuid": plan, "title": "Controls", "description": described}]},
        }
    }


def _observation(report: ComplianceReport, result: ControlResult) -> dict[str, Any]:
    evidence = [
        {"description": "An event of the audit log", "props": _properties(event=event)} for event in result.evidence
    ]
    return _filled(
        {
            "uuid": _id(report, "observation", result.control),
            "title": f"What was looked at for {result.control}",
            "description": result.because,
            "props": _properties(evaluator=str(result.evaluator), examined=str(result.examined), query=result.query),
            # Without an evaluator nobody has looked: that is no test.
            "methods": ["TEST" if result.evaluator else "UNKNOWN"],
            "types": ["control-objective"],
            "relevant-evidence": evidence,
            "collected": report.audited_at.isoformat(),
        }
    )


def _finding(report: ComplianceReport, result: ControlResult) -> dict[str, Any]:
    is_passed = result.verdict is ControlVerdict.PASS
    severity = "" if result.severity is None else result.severity.value
    return _filled(
        {
            "uuid": _id(report, "finding", result.control),
            "title": f"{result.control} {result.citation or ''}".strip(),
            "description": result.asked or result.because,
            "props": _properties(verdict=result.verdict.value, severity=severity),
            "target": {
                "type": "objective-id",
                "target-id": result.control,
                "status": {
                    "state": "satisfied" if is_passed else "not-satisfied",
                    "reason": _REASONS.get(result.verdict, "other"),
                    "remarks": result.because,
                },
            },
            "related-observations": [{"observation-uuid": _id(report, "observation", result.control)}],
            "remarks": result.remedy or "",
        }
    )


def _id(report: ComplianceReport, *part: str) -> str:
    return str(uuid5(NAMESPACE_URL, ":".join((NAMESPACE, report.id, *part))))


def _properties(**named: str) -> list[dict[str, str]]:
    """Each as OSCAL takes it: one line, and none that says nothing."""
    lines = {name: " ".join(value.split()) for name, value in named.items()}
    return [{"name": name, "ns": NAMESPACE, "value": value} for name, value in lines.items() if value]


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: OSCAL has no empty lists."""
    return {name: value for name, value in fields.items() if value}
