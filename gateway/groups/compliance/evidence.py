"""The evidence of a report as a table (CSV, RFC 4180): a row for each event that decides a control.

A control that no event decides has a row as well, without an event: what has no evidence is in the table, too.
"""

import csv
import io
from collections.abc import Iterator

from gateway.groups.compliance.resources import ComplianceReport, ControlResult

COLUMNS = (
    *("report", "at", "logSize", "logRoot", "framework", "control", "citation", "verdict", "because", "evaluator"),
    *("query", "examined", "named", "event"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def evidence_of(report: ComplianceReport) -> str:
    """The table. `named`: how many of the `examined` events are in it."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    log = [report.id, report.at.isoformat(), report.log_size, _cell(report.log_root or "")]
    table.writerows([*log, *row] for each in report.results for row in _rows(each))
    return text.getvalue()


def _rows(result: ControlResult) -> Iterator[list[object]]:
    told: list[object] = [
        *("" if result.framework is None else result.framework.value, _cell(result.control)),
        *(_cell(result.citation or ""), result.verdict.value, _cell(result.because), result.evaluator),
        *(_cell(result.query), result.examined, len(result.evidence)),
    ]
    for event in result.evidence or [""]:
        yield [*told, _cell(event)]


def _cell(text: str) -> str:
    # A spreadsheet computes what begins like a formula: whoever opens the table would run what a text says.
    return f"'{text}" if text.startswith(_FORMULA) else text
