"""Erasures at the API: whom they are about, what is told of them, and that what is kept names nobody."""

import shutil
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.sealing import Sealer
from chassis.subject_keys import SubjectKey, standing, subject_id_of
from contracts import errors
from contracts.envelope import decode_data
from contracts.erasure_events import DataSubjectErased, ErasureAccepted, ErasureBegun, ErasureBlocked, ErasurePutOff
from contracts.event import Event
from contracts.samples import sample_event
from contracts.storage_requests import ErasureRequested
from tests.support.gateway import NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

ERASURES = "/api/backup/compliance/erasures"
ADA = "ada@planted.example"


async def _send(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await http.post(ERASURES, json=body, headers={"Idempotency-Key": new_id()})


async def _tell(gateway: RunningGateway, kind: type[Event], erasure: str, **said: Any) -> None:
    event = msgspec.structs.replace(sample_event(kind), erasure_id=erasure, **said)
    await gateway.facts.publish(event, organisation=ORGANISATION, actor="service:executor", correlation_id=new_id())


async def test_an_erasure_is_of_a_subject_that_a_configuration_names_and_of_no_other(gateway: RunningGateway) -> None:
    """However the name is written; who has no key of their own is refused; what is kept is sealed under that key."""
    async with gateway.http("owner", second_factor=True) as http:
        unknown = await _send(http, dataSubject=ADA)
        assert (unknown.status_code, problem_code(unknown)) == (422, errors.DATA_SUBJECT_UNKNOWN.code)
        made = await gateway.create_configuration(http, name="Photos of Ada", dataSubject=f" {ADA} ")
        assert made["dataSubject"] == ADA
        asked = bytes(gateway.owners.asked[-1].data)
        sealer = Sealer(gateway.settings.keys_dir)
        subject = subject_id_of(sealer, ORGANISATION, ADA)
        assert b"planted" not in asked
        assert asked.count(f"subject/{ORGANISATION}/{subject}/1".encode()) >= 3
        unknown = await _send(http, dataSubject="ben@planted.example")
        assert problem_code(unknown) == errors.DATA_SUBJECT_UNKNOWN.code
        later = (SystemClock().now() + timedelta(days=1)).isoformat()
        wrong = await _send(http, dataSubject=ADA, receivedAt=later)
        assert (problem_code(wrong), wrong.json()["field"]) == (errors.INVALID_FIELD.code, "receivedAt")

        taken = await _send(http, dataSubject="ADA@Planted.example", law="ccpa")
        assert taken.status_code == 202, taken.text
        request = decode_data(gateway.owners.asked[-1])
        assert isinstance(request, ErasureRequested)
        assert (request.data_subject_id, request.law) == (subject, "ccpa")
        assert request.configuration_ids == (made["id"],)
        assert b"planted" not in bytes(gateway.owners.asked[-1].data).lower()
    async with gateway.http("owner", organisation="another", second_factor=True) as stranger:
        unknown = await _send(stranger, dataSubject=ADA)
        assert problem_code(unknown) == errors.DATA_SUBJECT_UNKNOWN.code


async def test_a_configuration_keeps_its_subject_and_has_none_that_was_erased(gateway: RunningGateway) -> None:
    """Another subject later would leave what was saved under the first one's key."""
    async with gateway.http("owner", second_factor=True) as http:
        made = await gateway.create_configuration(http, name="Photos of Ada", dataSubject=ADA)
        path = f"/api/backup/configurations/{made['id']}"
        from_before = {name: made[name] for name in ("name", "sourceType", "sourceLocation", "storageDestinations")}
        headers = {"Idempotency-Key": new_id(), "If-Match": '"1"'}
        changed = await http.put(path, json={**from_before, "dataSubject": "ben@planted.example"}, headers=headers)
        assert (problem_code(changed), changed.json()["field"]) == (errors.DATA_SUBJECT_FIXED.code, "dataSubject")
        changed = await http.put(path, json=from_before, headers={**headers, "Idempotency-Key": new_id()})
        assert problem_code(changed) == errors.DATA_SUBJECT_FIXED.code

        sealer = Sealer(gateway.settings.keys_dir)
        sealer.destroy(ORGANISATION, subject=subject_id_of(sealer, ORGANISATION, ADA))
        shown = (await http.get(path)).json()
        assert (shown["name"], shown["dataSubject"], shown["unreadableFields"]) == (None, None, [])
        again = await http.post(
            "/api/backup/configurations",
            json={**from_before, "name": "More of Ada", "dataSubject": ADA},
            headers={"Idempotency-Key": new_id()},
        )
        assert (again.status_code, problem_code(again)) == (409, errors.DATA_SUBJECT_ERASED.code)
        assert problem_code(await _send(http, dataSubject=ADA)) == errors.DATA_SUBJECT_ERASED.code


async def test_no_second_key_is_made_for_a_subject_whose_key_an_older_copy_of_the_folder_lacks(
    gateway: RunningGateway,
) -> None:
    """It would open nothing of what the first one has sealed, and hide that it is lost."""
    async with gateway.http("owner", second_factor=True) as http:
        await gateway.create_configuration(http, name="Contracts")
        keys = gateway.settings.keys_dir
        older = shutil.copytree(keys, keys.with_name("older-keys"))
        await gateway.create_configuration(http, name="Photos of Ada", dataSubject=ADA)
        shutil.rmtree(keys)
        shutil.copytree(older, keys)
        again = await http.post(
            "/api/backup/configurations",
            json={**NEW_CONFIGURATION, "name": "More of Ada", "dataSubject": ADA},
            headers={"Idempotency-Key": new_id()},
        )
        assert problem_code(again) == errors.KEYS_UNUSABLE.code, again.text
        subject = subject_id_of(Sealer(keys), ORGANISATION, ADA)
        assert standing(Sealer(keys), ORGANISATION, subject) is SubjectKey.NONE


async def test_an_erasure_is_told_from_its_obstacles_to_its_receipt(gateway: RunningGateway) -> None:
    """To its organisation alone; overdue by the clock, whoever has said so; the receipt to the byte."""
    now, erasure = SystemClock().now(), new_id()
    gateway.make_keys()
    sealer = Sealer(gateway.settings.keys_dir)
    subject = subject_id_of(sealer, ORGANISATION, ADA)
    sealer.make_keys(ORGANISATION, subject=subject)
    box = sealer.seal(ORGANISATION, "data-subject", ADA, subject=subject)
    said = {"data_subject": box, "received_at": now - timedelta(days=40), "deadline_at": now - timedelta(days=9)}
    path = f"{ERASURES}/{erasure}"
    await _tell(gateway, ErasureAccepted, erasure, **said)
    await _tell(gateway, ErasureBlocked, erasure)
    shown = await gateway.shows(path, lambda each: each["state"] == "blocked")
    assert (shown["dataSubject"], shown["isOverdue"], shown["isDueSoon"]) == (ADA, True, False)
    assert [each["code"] for each in shown["obstacles"]] == [errors.POINT_HELD.code]
    assert "release" in shown["obstacles"][0]["hint"]
    await _tell(gateway, ErasurePutOff, erasure, code=errors.TIER_UNREACHABLE.code, hint="")
    shown = await gateway.shows(path, lambda each: each["state"] == "waiting")
    assert shown["error"]["code"] == errors.TIER_UNREACHABLE.code
    async with gateway.http("viewer") as http, gateway.http("owner", organisation="another") as stranger:
        none = await http.get(f"{path}/receipt")
        assert problem_code(none) == errors.ERASURE_RECEIPT_NONE.code
        await _tell(gateway, ErasureBegun, erasure)
        receipt = '{"receipt":{"a": 1 },"signature":"00"}'
        await _tell(gateway, DataSubjectErased, erasure, receipt=receipt)
        sealer.destroy(ORGANISATION, subject=subject)
        shown = await gateway.shows(path, lambda each: each["state"] == "completed")
        assert (shown["dataSubject"], shown["isOverdue"], shown["hasReceipt"]) == (None, False, True)
        assert (await http.get(f"{path}/receipt")).content == receipt.encode()
        listed = (await http.get(ERASURES, params={"status": "completed"})).json()["items"]
        assert [each["id"] for each in listed] == [erasure]
        assert (await http.get(ERASURES, params={"status": "blocked"})).json()["items"] == []
        for hidden in (path, f"{path}/receipt"):
            assert problem_code(await stranger.get(hidden)) == errors.ERASURE_UNKNOWN.code
