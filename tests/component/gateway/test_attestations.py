"""Attestations over the API: what is asked of one, who reads it, and that its words are sealed."""

import msgspec
import pytest

from chassis.ids import new_id
from chassis.sealing import Sealer
from contracts.attestations import STATEMENT_FIELD, AttestationKind
from contracts.compliance_events import AttestationRecorded
from contracts.compliance_requests import AttestationSubmitted
from contracts.envelope import decode_data
from contracts.samples import sample_event
from tests.support.gateway import ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack
ATTESTATIONS = "/api/backup/compliance/attestations"


async def test_attestation_is_sealed_and_shown_to_its_organisation_alone(gateway: RunningGateway) -> None:
    """It says of what it is where its kind needs that, and nothing that is to come; the record has no word of it."""
    gateway.make_keys()
    gateway.owners.asked.clear()
    async with gateway.http("auditor", second_factor=True) as http:
        for body, field in (
            ({"kind": "transfer-allowed", "statement": "in Frankfurt"}, "about"),
            ({"kind": "breach-found", "statement": "a laptop", "happenedAt": "2999-01-01T00:00:00Z"}, "happenedAt"),
            ({"kind": "audit-log-review", "statement": "  "}, "statement"),
            ({"kind": "of-later", "statement": "so it is"}, "kind"),
        ):
            refused = await http.post(ATTESTATIONS, json=body, headers={"Idempotency-Key": new_id()})
            assert (refused.status_code, refused.json().get("field")) == (422, field), (body, refused.text)
        sent = {"kind": "transfer-allowed", "statement": "  both in Frankfurt", "about": ["offsite", "offsite"]}
        taken = await http.post(ATTESTATIONS, json=sent, headers={"Idempotency-Key": new_id()})
        assert taken.status_code == 202, taken.text
    (envelope,) = [each for each in gateway.owners.asked if each.type == AttestationSubmitted.NAME]
    request = decode_data(envelope)
    assert isinstance(request, AttestationSubmitted)
    assert (request.about, request.holds, b"Frankfurt" in bytes(envelope.data)) == (("offsite",), True, False)

    recorded = msgspec.structs.replace(
        sample_event(AttestationRecorded),
        attestation_id=new_id(),
        statement=Sealer(gateway.settings.keys_dir).seal(ORGANISATION, STATEMENT_FIELD, "both in Frankfurt"),
    )
    await gateway.facts.publish(recorded, organisation=ORGANISATION)
    path = f"{ATTESTATIONS}/{recorded.attestation_id}"
    shown = await gateway.shows(path, lambda _: True)
    assert (shown["statement"], shown["kind"], shown["about"]) == (
        "both in Frankfurt",
        AttestationKind.TRANSFER_ALLOWED.value,
        ["offsite"],
    )
    async with gateway.http("viewer") as http:
        for narrowed, is_there in (("", True), ("?kind=transfer-allowed", True), ("?kind=certification", False)):
            items = (await http.get(ATTESTATIONS + narrowed)).json()["items"]
            assert (recorded.attestation_id in {each["id"] for each in items}) is is_there
    async with gateway.http("auditor", organisation="others") as http:
        assert problem_code(await http.get(path)) == "not-found"
