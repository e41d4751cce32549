"""A report in other forms says what the report says, and never more: what has no evidence does not become a pass."""

import csv
import io
import json
from typing import Any

import jsonschema
import msgspec
import pytest

from contracts.controls import ControlVerdict, Framework
from gateway.groups.compliance.evidence import COLUMNS, evidence_of
from gateway.groups.compliance.examples import REPORT
from gateway.groups.compliance.oscal import oscal_of
from gateway.groups.compliance.page import page_of
from gateway.groups.compliance.resources import ComplianceReport
from tests.support.oscal_model import OSCAL

HOSTILE = '=HYPERLINK("https://example.org")\n<script>'


def _with(verdict: ControlVerdict, *evidence: str, **changes: Any) -> ComplianceReport:
    first, *others = REPORT.results
    changed = msgspec.structs.replace(first, verdict=verdict, evidence=list(evidence), **changes)
    return msgspec.structs.replace(REPORT, results=[changed, *others])


FAILED = _with(ControlVerdict.FAIL, "event-1", "event-2", examined=7, because=HOSTILE, remedy="Mend it.")
REPORTS = {
    "example": REPORT,
    "failed": FAILED,
    "of a newer build": _with(ControlVerdict.PASS, framework=None, citation=None, asked=None, severity=None),
    "of an empty log": msgspec.structs.replace(REPORT, log_size=0, log_root=None, requested_by=None),
    "of several": msgspec.structs.replace(REPORT, frameworks=list(Framework)),
}


def _oscal_problems(document: Any) -> list[str]:
    """What the model of OSCAL says against a document."""
    return [f"{each.json_path}: {each.message}" for each in jsonschema.Draft7Validator(OSCAL).iter_errors(document)]


@pytest.mark.parametrize("name", REPORTS)
def test_oscal_is_of_its_model(name: str) -> None:
    """Also of a failure, of what this build does not know, and of an empty log."""
    document = json.loads(msgspec.json.encode(oscal_of(REPORTS[name])))
    assert _oscal_problems(document) == []
    del document["assessment-results"]["import-ap"]
    assert _oscal_problems(document) != [], "the schema asks for nothing"


def test_oscal_is_satisfied_by_a_pass_alone() -> None:
    """A failure and what has no evidence are not satisfied, and told apart; the same report is the same document."""
    for report, told in ((REPORT, ("satisfied", "pass", "pass")), (FAILED, ("not-satisfied", "fail", "fail"))):
        (result,) = oscal_of(report)["assessment-results"]["results"]
        first, undecided = (
            (status["state"], status["reason"], verdict["value"])
            for status, verdict in ((each["target"]["status"], each["props"][0]) for each in result["findings"])
        )
        assert (first, undecided) == (told, ("not-satisfied", "other", "no-evidence"))
        assert [each["methods"] for each in result["observations"]] == [["TEST"], ["UNKNOWN"]]
    assert oscal_of(REPORT) == oscal_of(REPORT) != oscal_of(msgspec.structs.replace(REPORT, id="another"))
    named = [each["props"][0]["value"] for each in result["observations"][0]["relevant-evidence"]]
    assert named == ["event-1", "event-2"]


def test_evidence_has_a_row_for_each_event_and_for_what_has_none() -> None:
    """It says how many were looked at, and no spreadsheet computes what a text says."""
    first, second, undecided = csv.DictReader(io.StringIO(evidence_of(FAILED), newline=""))
    assert tuple(first) == COLUMNS
    assert (first["event"], second["event"], undecided["event"]) == ("event-1", "event-2", "")
    assert (first["verdict"], undecided["verdict"]) == ("fail", "no-evidence")
    assert (first["named"], first["examined"], undecided["examined"]) == ("2", "7", "0")
    assert first["because"] == f"'{HOSTILE}"


def test_page_prints_its_evidence() -> None:
    """What is folded away is not on paper."""
    page = page_of(FAILED)
    assert (page.count("<details open>"), page.count("<details")) == (1, 1)
