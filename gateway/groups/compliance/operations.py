"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.compliance import examples
from gateway.groups.compliance.resources import ComplianceReport, ComplianceReportSummary, ComplianceStatus
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

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
}
