"""Reports of audits over the API: what was found, who may read it, and that nothing in it is believed blindly."""

import csv
import io
from datetime import UTC, datetime, timedelta

import msgspec

from chassis.ids import new_id
from contracts.compliance_events import ComplianceAudited, ControlFinding
from contracts.controls import CONTROLS, ControlVerdict, Framework
from contracts.envelope import decode_data
from contracts.gateway_events import ComplianceAuditRequested
from contracts.samples import sample_event
from tests.support.gateway import RunningGateway, problem_code

COMPLIANCE = "/api/backup/compliance"
FORMS = ("page", "evidence", "oscal")
HOSTILE = "<script>alert(1)</script>"


def _finding(control: str, verdict: ControlVerdict, because: str = "so it is") -> ControlFinding:
    return ControlFinding(control=control, verdict=verdict, because=because, evaluator=1, query="a.b.v1")


def _audited(*findings: ControlFinding, framework: Framework = Framework.GDPR) -> ComplianceAudited:
    known = sample_event(ComplianceAudited)
    return msgspec.structs.replace(known, audit_id=new_id(), frameworks=(framework,), findings=findings)


async def test_audit_is_asked_for_and_its_report_is_read(gateway: RunningGateway) -> None:
    """By auditors, of an instant that has come; every reader sees verdicts, no other organisation does."""
    gateway.make_keys()
    there = _audited(
        _finding("GDPR-32d", ControlVerdict.PASS),
        _finding("GDPR-30", ControlVerdict.FAIL, HOSTILE),
        _finding("GDPR-33", ControlVerdict.NO_EVIDENCE),
        _finding("GDPR-of-later", ControlVerdict.PASS),
    )
    await gateway.facts.publish(there)
    path = f"{COMPLIANCE}/reports/{there.audit_id}"
    report = await gateway.shows(path, lambda _: True)
    assert report["counts"] == {"passed": 2, "failed": 1, "noEvidence": 1, "score": 50}
    passed, failed, undecided, unknown = report["results"]
    assert (passed["remedy"], failed["remedy"]) == (None, CONTROLS["GDPR-30"].remedy)
    assert (failed["severity"], undecided["verdict"]) == ("medium", "no-evidence")
    assert (unknown["citation"], unknown["framework"]) == (None, None)
    async with gateway.http("viewer") as http:
        page = await http.get(f"{path}/page")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "script" not in page.headers["content-security-policy"]
        assert (HOSTILE in page.text, "&lt;script&gt;" in page.text) == (False, True)
        assert "2 pass, 1 fail, 1 have no evidence" in page.text
        table = await http.get(f"{path}/evidence")
        assert table.headers["content-type"].startswith("text/csv")
        rows = csv.DictReader(io.StringIO(table.text, newline=""))
        assert [each["verdict"] for each in rows] == [each["verdict"] for each in report["results"]]
        results = await http.get(f"{path}/oscal")
        assert there.audit_id in results.headers["content-disposition"]
        (result,) = results.json()["assessment-results"]["results"]
        assert len(result["findings"]) == len(report["results"])
        status = {each["framework"]: each for each in (await http.get(f"{COMPLIANCE}/status")).json()["frameworks"]}
        assert (status["gdpr"]["reportId"], status["gdpr"]["failing"]) == (there.audit_id, ["GDPR-30"])
        assert status["gdpr"]["counts"] == {"passed": 1, "failed": 1, "noEvidence": 1, "score": 33}
        assert (status["sox"]["reportId"], status["sox"]["counts"]) == (None, None)
        for narrowed, found in (("", 1), ("?framework=gdpr", 1), ("?framework=sox", 0)):
            assert len((await http.get(f"{COMPLIANCE}/reports{narrowed}")).json()["items"]) == found
        asked = await http.post(f"{COMPLIANCE}/audit", json={}, headers={"Idempotency-Key": new_id()})
        assert problem_code(asked) == "forbidden"
    async with gateway.http("auditor", organisation="others") as http:
        assert problem_code(await http.get(path)) == "not-found"
        for form in FORMS:
            assert problem_code(await http.get(f"{path}/{form}")) == "not-found", form
        assert (await http.get(f"{COMPLIANCE}/reports")).json()["items"] == []
    gateway.owners.asked.clear()
    async with gateway.http("auditor") as http:
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251  # what a client sends
        for body, field in (
            ({"at": tomorrow}, "at"),
            ({"frameworks": []}, "frameworks"),
            ({"frameworks": ["iso"]}, "frameworks[0]"),
            ({"at": "2026-01-01T00:00:00"}, "at"),
        ):
            refused = await http.post(f"{COMPLIANCE}/audit", json=body, headers={"Idempotency-Key": new_id()})
            assert (refused.status_code, refused.json().get("field")) == (422, field), (body, refused.text)
        body = {"frameworks": ["sox", "gdpr", "sox"], "at": "2026-01-01T00:00:00Z"}
        taken = await http.post(f"{COMPLIANCE}/audit", json=body, headers={"Idempotency-Key": new_id()})
        assert taken.status_code == 202, taken.text
    (envelope,) = [each for each in gateway.owners.asked if each.type == ComplianceAuditRequested.NAME]
    request = decode_data(envelope)
    assert isinstance(request, ComplianceAuditRequested)
    assert (request.frameworks, request.at.year) == ((Framework.SOX, Framework.GDPR), 2026)
