"""How frameworks stand, and reports of audits."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from contracts.controls import Framework
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.compliance import queries
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


HANDLERS = [
    Router(
        "/compliance",
        route_handlers=[
            show_compliance_status,
            list_compliance_reports,
            show_compliance_report,
            show_compliance_page,
        ],
    )
]
