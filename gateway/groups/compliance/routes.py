"""How frameworks stand, and reports of audits."""

from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, Router, get
from litestar.params import QueryParameter

from contracts.controls import Framework
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.compliance import queries
from gateway.groups.compliance.evidence import evidence_of
from gateway.groups.compliance.oscal import oscal_of
from gateway.groups.compliance.page import PAGE_POLICY, page_of
from gateway.groups.compliance.resources import ComplianceReport, ComplianceReportSummary, ComplianceStatus
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfFramework = Annotated[Framework | None, QueryParameter(name="framework", description="Of one framework")]


@get("/status", **needs(Right.READ), summary="Show how frameworks stand")
async def show_compliance_status(request: Request[Any, Any, Any]) -> ComplianceStatus:
    """Each framework as its latest audit has found it."""
    gateway, principal = parts_of(request), principal_of(request)
    return await queries.status(gateway.reading, principal.organisation)


@get("/reports", **needs(Right.READ), summary="List compliance reports")
async def list_compliance_reports(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    framework: OfFramework = None,
) -> ListPage[ComplianceReportSummary]:
    """Audits of the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    wanted = queries.ReportFilter(framework=framework)
    return await queries.reports(
        gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor
    )


async def _report(request: Request[Any, Any, Any], audit_id: str) -> ComplianceReport:
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(audit_id)
    async with gateway.reading(principal.organisation) as database:
        return await queries.report(database, principal.organisation, identity)


@get("/reports/{audit_id:str}", **needs(Right.READ), summary="Show a compliance report")
async def show_compliance_report(request: Request[Any, Any, Any], audit_id: Id) -> ComplianceReport:
    """One audit: of each control the verdict, why, by which events, and what to do where it does not pass."""
    return await _report(request, audit_id)


@get(
    "/reports/{audit_id:str}/page",
    **needs(Right.READ),
    summary="Show a compliance report as a page",
    media_type="text/html",
)
async def show_compliance_page(request: Request[Any, Any, Any], audit_id: Id) -> Response[str]:
    """The same report as HTML, to be read and printed."""
    page = page_of(await _report(request, audit_id))
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@get(
    "/reports/{audit_id:str}/evidence",
    **needs(Right.READ),
    summary="Get the evidence of a compliance report as a table",
    media_type="text/csv",
)
async def get_compliance_evidence(request: Request[Any, Any, Any], audit_id: Id) -> Response[str]:
    """The evidence as CSV: a row for each event that decides a control, and one for each control that none decides.

    An apostrophe stands before what a spreadsheet would take for a formula.
    """
    report = await _report(request, audit_id)
    return Response(evidence_of(report), media_type="text/csv", headers=_saved_as(report, "csv"))


@get("/reports/{audit_id:str}/oscal", **needs(Right.READ), summary="Get a compliance report as OSCAL")
async def get_compliance_oscal(request: Request[Any, Any, Any], audit_id: Id) -> Response[bytes]:
    """The same report as OSCAL assessment results. No evidence is `not-satisfied`, with the reason `other`."""
    report = await _report(request, audit_id)
    document = msgspec.json.encode(oscal_of(report))
    return Response(document, media_type=MediaType.JSON, headers=_saved_as(report, "oscal.json"))


def _saved_as(report: ComplianceReport, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="compliance-{report.id}.{ending}"'}


HANDLERS = [
    Router(
        "/compliance",
        route_handlers=[
            show_compliance_status,
            list_compliance_reports,
            show_compliance_report,
            show_compliance_page,
            get_compliance_evidence,
            get_compliance_oscal,
        ],
    )
]
