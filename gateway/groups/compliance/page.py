"""A report as a page for people: it prints, and reads without style, script or picture."""

from html import escape

from contracts.controls import ControlVerdict
from gateway.groups.compliance.resources import ComplianceReport, ControlResult

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}"
    "table{border-collapse:collapse;width:100%}th,td{border:1px solid #767676;padding:.4rem;text-align:left;"
    "vertical-align:top}caption{text-align:left;font-weight:bold}code{word-break:break-all}"
    "@media print{tr{break-inside:avoid}}"
)
_WORDS = {ControlVerdict.PASS: "Pass", ControlVerdict.FAIL: "Fail", ControlVerdict.NO_EVIDENCE: "No evidence"}


def page_of(report: ComplianceReport) -> str:
    """The page."""
    names = ", ".join(each.value.upper() for each in report.frameworks)
    counts, asker = report.counts, escape(report.requested_by or "unknown")
    return "".join(
        [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            f"<title>Compliance report: {escape(names)}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>Compliance report: {escape(names)}</h1>",
            f"<p>By what had happened up to <time>{report.at.isoformat()}</time>; made at "
            f"<time>{report.audited_at.isoformat()}</time>, asked for by <code>{asker}</code>. "
            f"Report <code>{escape(report.id)}</code>.</p>",
            f"<p><strong>{counts.passed} pass, {counts.failed} fail, {counts.no_evidence} have no evidence</strong>, "
            f"which never counts as a pass: {counts.score} of 100.</p>",
            f"<p>Looked up in an audit log of {report.log_size} entries with the root "
            f"<code>{escape(report.log_root or 'none')}</code>.</p>",
            "<table><caption>Controls</caption><thead><tr>",
            *(f"<th scope='col'>{each}</th>" for each in ("Control", "Verdict", "What is asked", "Why", "What to do")),
            "</tr></thead><tbody>",
            *map(_row, report.results),
            "</tbody></table><p>This report is made from what the platform has recorded. It is no legal advice.</p>",
            "</main></body></html>",
        ]
    )


def _row(result: ControlResult) -> str:
    severity = "" if result.severity is None else f" ({escape(result.severity.value)})"
    evidence = ""
    if result.evidence:
        # Open: what is closed is not printed.
        shown = ", ".join(f"<code>{escape(each)}</code>" for each in result.evidence)
        count = f"Evidence: {len(result.evidence)} of {result.examined}"
        evidence = f"<details open><summary>{count}</summary>{shown}</details>"
    decided = f"Evaluator version {result.evaluator}." if result.evaluator else "Nothing evaluates this control yet."
    return (
        f"<tr><th scope='row'>{escape(result.control)}<br>{escape(result.citation or '')}</th>"
        f"<td>{_WORDS.get(result.verdict, 'Unknown')}{severity}</td><td>{escape(result.asked or '')}</td>"
        f"<td>{escape(result.because)} {decided}{evidence}</td><td>{escape(result.remedy or '')}</td></tr>"
    )
