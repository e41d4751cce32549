"""Audits as reports."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.compliance_events import ComplianceAudited, ControlFinding
from contracts.controls import CONTROLS, ControlVerdict, Framework
from contracts.errors import PlatformError
from gateway.groups.compliance.projection import audited
from gateway.groups.compliance.resources import (
    ComplianceReport,
    ComplianceReportSummary,
    ComplianceStatus,
    ControlResult,
    Counts,
    FrameworkStatus,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of

_AUDITS: LiteralString = """
    SELECT a.fact::text, a.audited_at, q.actor FROM compliance_audits a LEFT JOIN requests q USING (request_id)
    WHERE a.organisation = %s
"""
_LATEST: LiteralString = """
    SELECT wanted.framework, latest.fact::text, latest.audited_at
    FROM unnest(%s::text[]) AS wanted (framework) CROSS JOIN LATERAL (
        SELECT fact, audited_at FROM compliance_audits
        WHERE organisation = %s AND wanted.framework = ANY (frameworks)
        ORDER BY audited_at DESC, audit_id DESC LIMIT 1
    ) latest
"""


class ReportFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which reports a list shows."""

    framework: Framework | None = None


async def status(reading: Reading, organisation: str) -> ComplianceStatus:
    """How each framework stood when it was last looked at."""
    async with reading(organisation) as database:
        found = await database.execute(_LATEST, ([each.value for each in Framework], organisation))
        latest = {name: (audited(stored), at) for name, stored, at in await found.fetchall()}
    return ComplianceStatus(frameworks=[_standing(each, latest.get(each.value)) for each in Framework])


def _standing(framework: Framework, latest: tuple[ComplianceAudited, datetime] | None) -> FrameworkStatus:
    if latest is None:
        return FrameworkStatus(framework=framework)
    fact, audited_at = latest
    own = [each for each in fact.findings if _framework_of(each) is framework]
    return FrameworkStatus(
        framework=framework,
        report_id=fact.audit_id,
        at=fact.at,
        audited_at=audited_at,
        counts=counts_of(own),
        failing=[each.control for each in own if each.verdict is ControlVerdict.FAIL],
    )


async def report(database: Database, organisation: str, audit_id: str) -> ComplianceReport:
    """One. Raises NOT_FOUND, also where it is another organisation's."""
    found = await database.execute(_AUDITS + " AND a.audit_id = %s", (organisation, audit_id))
    row = await found.fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such report")
    fact, summary = _summary(row)
    return ComplianceReport(
        **{name: getattr(summary, name) for name in summary.__struct_fields__},
        log_size=fact.log_size,
        log_root=fact.log_root,
        results=[_result(each) for each in fact.findings],
    )


async def reports(
    reading: Reading, sealer: Sealer, organisation: str, wanted: ReportFilter, *, limit: int, cursor: str | None
) -> ListPage[ComplianceReportSummary]:
    """A page of them, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _AUDITS,
        [(" AND %s = ANY (a.frameworks)", wanted.framework)],
        partial(made_of, make=lambda row: _summary(row)[1]),
        key=("a.audited_at", "a.audit_id"),
        place=lambda each: Place(each.audited_at, each.id),
        cursors=Cursors(sealer, organisation, "compliance-reports", wanted),
        limit=limit,
        cursor=cursor,
    )


def _summary(row: tuple[Any, ...]) -> tuple[ComplianceAudited, ComplianceReportSummary]:
    stored, audited_at, actor = row
    fact = audited(stored)
    return fact, ComplianceReportSummary(
        id=fact.audit_id,
        request_id=fact.request_id,
        requested_by=actor,
        frameworks=list(fact.frameworks),
        at=fact.at,
        audited_at=audited_at,
        counts=counts_of(fact.findings),
    )


def counts_of(findings: Iterable[ControlFinding | ControlResult]) -> Counts:
    """How many have which verdict: whatever is neither a pass nor a fail is no evidence."""
    verdicts = [each.verdict for each in findings]
    passed, failed = verdicts.count(ControlVerdict.PASS), verdicts.count(ControlVerdict.FAIL)
    return Counts(
        passed=passed,
        failed=failed,
        no_evidence=len(verdicts) - passed - failed,
        score=100 * passed // len(verdicts) if verdicts else 0,
    )


def _framework_of(finding: ControlFinding) -> Framework | None:
    known = CONTROLS.get(finding.control)
    return None if known is None else known.framework


def _result(finding: ControlFinding) -> ControlResult:
    known = CONTROLS.get(finding.control)
    is_passed = finding.verdict is ControlVerdict.PASS
    return ControlResult(
        control=finding.control,
        verdict=finding.verdict,
        because=finding.because,
        framework=None if known is None else known.framework,
        citation=None if known is None else known.citation,
        asked=None if known is None else known.asked,
        severity=None if known is None else known.severity,
        remedy=None if known is None or is_passed else known.remedy,
        evaluator=finding.evaluator,
        query=finding.query,
        examined=finding.examined,
        evidence=list(finding.evidence),
    )
