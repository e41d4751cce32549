"""What each operation of the group takes and gives, by the name of its handler."""

from typing import Any

from contracts import errors
from gateway.groups.compliance import examples
from gateway.groups.compliance.evidence import evidence_of
from gateway.groups.compliance.oscal import oscal_of
from gateway.groups.compliance.resources import ComplianceReport, ComplianceReportSummary, ComplianceStatus
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

_SAVED = {"Content-Disposition": "Under which name a browser saves it"}

OPERATIONS = {
    "show_compliance_status": Operation(
        group="Compliance",
        answers=(
            Answer(status=200, description="The frameworks", body=ComplianceStatus, examples={"one": examples.STATUS}),
        ),
    ),
    "list_compliance_reports": Operation(
        group="Compliance",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[ComplianceReportSummary],
                examples={"one": examples.REPORTS},
            ),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE),
    ),
    "show_compliance_report": Operation(
        group="Compliance",
        answers=(
            Answer(status=200, description="The report", body=ComplianceReport, examples={"two": examples.REPORT}),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_compliance_page": Operation(
        group="Compliance",
        answers=(
            Answer(
                status=200,
                description="The report as a page",
                body=str,
                examples={"begin": "<!doctype html>"},
                media_type="text/html",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "get_compliance_evidence": Operation(
        group="Compliance",
        answers=(
            Answer(
                status=200,
                description="The evidence, a row for each event",
                body=str,
                examples={"two": evidence_of(examples.REPORT)},
                headers=_SAVED,
                media_type="text/csv",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "get_compliance_oscal": Operation(
        group="Compliance",
        answers=(
            Answer(
                status=200,
                description="OSCAL assessment results",
                body=dict[str, Any],
                examples={"two": oscal_of(examples.REPORT)},
                headers=_SAVED,
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
}
