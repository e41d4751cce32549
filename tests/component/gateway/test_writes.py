"""Writes: one request event each, answered by its owner, told in the right way."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chassis.ids import new_id
from chassis.record.mapper import EVENT_BYTES_MAX
from contracts import errors
from contracts.config_events import (
    ConfigurationCreated,
    ConfigurationPaused,
    ConfigurationResumed,
    ConfigurationRetired,
    ConfigurationUpdated,
)
from contracts.envelope import decode_data, encode
from contracts.gateway_events import (
    BackupRequested,
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
    ConfigurationRetirementRequested,
    ConfigurationSubmitted,
)
from deploy.stack.identity_provider import IdentityProvider
from gateway.auth.principal import FACTOR_SECONDS_MAX
from gateway.writes.resources import WriteRequest
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.gateway import ISSUER, NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code
from tests.support.published import assert_as_promised

pytestmark = pytest.mark.stack

CONFIGURATIONS = "/api/backup/configurations"
EXECUTE = "/api/backup/execute"


async def test_configuration_is_created_with_201_and_its_place(gateway: RunningGateway) -> None:
    """A write waits for the fact that answers it, and shows the resource as it is in force."""
    async with gateway.http("owner") as http:
        answer = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers={"Idempotency-Key": new_id()})
        assert answer.status_code == 201
        created = answer.json()
        assert answer.headers["location"] == f"{CONFIGURATIONS}/{created['id']}"
        assert answer.headers["etag"] == '"1"'
        assert created["name"] == NEW_CONFIGURATION["name"]
        assert created["sourceIdentifier"] == "2027/meyer"
        assert created["weddingDate"] == "2027-06-12"
        assert created["createdBy"] == "user:someone"
        assert created["health"] == "never-run"
        shown = await http.get(answer.headers["location"])
        assert shown.json() == created
        assert shown.headers["etag"].startswith('"1-')


async def test_personal_fields_leave_the_gateway_sealed(gateway: RunningGateway) -> None:
    """Names, paths and dates are in no event in the clear."""
    async with gateway.http("owner") as http:
        await gateway.create_configuration(http)
    (envelope,) = gateway.owners.asked
    assert_as_promised(envelope)
    event = decode_data(envelope)
    assert isinstance(event, ConfigurationSubmitted)
    text = bytes(envelope.data).decode()
    for secret in ("Meyer", "2027/meyer", "2027-06-12"):
        assert secret not in text
    assert event.evidence.roles == ("owner",)
    assert event.evidence.token_id


async def test_execution_is_accepted_with_202_and_the_run(gateway: RunningGateway) -> None:
    """POST execute answers with the request, the run that it has become, and where both are found."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        answer = await http.post(
            EXECUTE, json={"configurationId": configuration["id"]}, headers={"Idempotency-Key": new_id()}
        )
        assert answer.status_code == 202
        request = answer.json()
        run = request["execution"]
        assert answer.headers["location"] == f"/api/backup/requests/{request['id']}"
        assert (request["state"], request["kind"]) == ("accepted", "execute-backup")
        assert request["resource"] == f"/api/backup/executions/{run['id']}"
        assert run["requestId"] == request["id"]
        assert run["state"] == "initializing"
        assert run["configurationId"] == configuration["id"]
        assert run["isWeddingCritical"] is True
        assert run["startedBy"] == "user:someone"
        assert {tier["state"] for tier in run["tiers"]} == {"pending"}
        assert (await http.get(request["resource"])).json() == run
        assert (await http.get(answer.headers["location"])).json() == request
    assert_as_promised(gateway.owners.asked[-1])
    event = decode_data(gateway.owners.asked[-1])
    assert isinstance(event, BackupRequested)
    assert event.configuration_version == 1


@pytest.mark.parametrize(
    ("code", "status", "retry_after"), [(errors.RUN_ALREADY_OPEN, 409, None), (errors.QUEUE_FULL, 429, "30")]
)
async def test_run_that_cannot_be_taken_on_now_is_a_problem_that_says_when(
    gateway: RunningGateway, code: errors.ErrorCode, status: int, retry_after: str | None
) -> None:
    """The owner's code decides on the status; what is only full is worth another request after a while."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        gateway.owners.refuse = code.code
        answer = await http.post(
            EXECUTE, json={"configurationId": configuration["id"]}, headers={"Idempotency-Key": new_id()}
        )
    assert (answer.status_code, problem_code(answer)) == (status, code.code)
    assert answer.json()["retry"] == "later"
    assert answer.headers.get("retry-after") == retry_after


async def test_refusal_is_a_problem_with_the_owners_code(gateway: RunningGateway) -> None:
    """What the owner refuses is told with its code, its field and the request that it is about."""
    gateway.owners.refuse = errors.CONFIGURATION_NAME_TAKEN.code
    async with gateway.http("owner") as http:
        key = new_id()
        answer = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers={"Idempotency-Key": key})
        assert answer.status_code == 409
        assert problem_code(answer) == "configuration-name-taken"
        problem = answer.json()
        assert problem["field"] == "name"
        request = await http.get(f"/api/backup/requests/{problem['context']['requestId']}")
        assert request.json()["state"] == "refused"
        assert request.json()["problem"]["code"] == "configuration-name-taken"
        again = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers={"Idempotency-Key": key})
        assert problem_code(again) == "configuration-name-taken"
    assert len(gateway.owners.asked) == 1


async def test_same_key_and_body_is_one_request(gateway: RunningGateway) -> None:
    """However often and however concurrently a write is sent, there is one request and one answer."""
    headers = {"Idempotency-Key": new_id()}
    async with gateway.http("owner") as http:
        sent = [http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers) for _ in range(8)]
        answers = await asyncio.gather(*sent)
        later = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
    assert {answer.status_code for answer in (*answers, later)} == {201}
    assert len({answer.json()["id"] for answer in (*answers, later)}) == 1
    assert len(gateway.owners.asked) == 1


async def test_key_that_is_a_uuid_is_one_in_whatever_case(gateway: RunningGateway) -> None:
    """A UUID has no case; another text is what it is, letter by letter."""
    key = new_id()
    async with gateway.http("owner") as http:
        made = [
            (await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers={"Idempotency-Key": each})).json()["id"]
            for each in (key, key.upper(), "sent-by-Anna", "sent-by-anna")
        ]
    assert made[0] == made[1]
    assert len(set(made)) == 3


async def test_same_key_with_another_body_is_refused(gateway: RunningGateway) -> None:
    """A key stands for one body."""
    headers = {"Idempotency-Key": new_id()}
    async with gateway.http("owner") as http:
        await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
        other = await http.post(CONFIGURATIONS, json={**NEW_CONFIGURATION, "name": "Another"}, headers=headers)
        assert other.status_code == 409
        assert problem_code(other) == "idempotency-key-reused"
    async with gateway.http("owner", subject="somebody-else") as http:
        mine = await http.post(CONFIGURATIONS, json={**NEW_CONFIGURATION, "name": "Another"}, headers=headers)
        assert mine.status_code == 201
    assert len(gateway.owners.asked) == 2


@pytest.mark.parametrize("key", [None, "", "x" * 201, "naïve"])
async def test_write_without_usable_key_is_refused(gateway: RunningGateway, key: str | None) -> None:
    """A write needs a key that can be kept."""
    headers = {} if key is None else {"Idempotency-Key": key.encode("latin-1")}
    async with gateway.http("owner") as http:
        answer = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
    assert problem_code(answer) in {"idempotency-key-missing", "invalid-field"}
    assert answer.json()["field"] == "Idempotency-Key"
    assert gateway.owners.asked == []


async def test_write_is_pending_when_its_owner_is_slow(gateway: RunningGateway) -> None:
    """What is not answered in time is in the record, and 202 says where its answer will be."""
    gateway.owners.is_silent = True
    headers = {"Idempotency-Key": new_id()}
    async with gateway.http("owner") as http:
        answer = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
        assert answer.status_code == 202
        request = answer.json()
        assert answer.headers["location"] == f"/api/backup/requests/{request['id']}"
        assert request["state"] == "pending"
        assert request["resource"] is None
        (envelope,) = gateway.owners.asked
        await gateway.owners.answer(envelope, decode_data(envelope))

        shown = await gateway.shows(answer.headers["location"], lambda shown: shown["state"] == "accepted")
        assert (await http.get(shown["resource"])).status_code == 200
        again = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=headers)
        assert again.status_code == 201


async def test_every_202_has_one_shape(gateway: RunningGateway) -> None:
    """Whatever was asked for, and whether it is accepted yet: the body of a 202 is the request that Location shows."""
    answers = []
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        execute = {"configurationId": configuration["id"]}
        answers.append(await http.post(EXECUTE, json=execute, headers={"Idempotency-Key": new_id()}))
        gateway.owners.is_silent = True
        answers.append(await http.post(EXECUTE, json=execute, headers={"Idempotency-Key": new_id()}))
        body = {**NEW_CONFIGURATION, "name": "Another"}
        answers.append(await http.post(CONFIGURATIONS, json=body, headers={"Idempotency-Key": new_id()}))
        for answer in answers:
            assert answer.status_code == 202
            request = msgspec.json.decode(answer.content, type=WriteRequest)
            assert answer.headers["location"] == f"/api/backup/requests/{request.id}"
            assert (await http.get(answer.headers["location"])).json() == answer.json()
            assert ("retry-after" in answer.headers) is (request.state == "pending")
            assert (request.execution is not None) is (request.state == "accepted")
    assert [answer.json()["state"] for answer in answers] == ["accepted", "pending", "pending"]


async def test_write_is_taken_down_when_nats_is_away(gateway: RunningGateway) -> None:
    """A write is in the record before anything is answered, and is published once NATS is back."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
        await asyncio.to_thread(gateway.nats.stop)
        answer = await http.post(
            EXECUTE, json={"configurationId": configuration["id"]}, headers={"Idempotency-Key": new_id()}
        )
        assert answer.status_code == 202
        assert answer.json()["state"] == "pending"
        await asyncio.to_thread(gateway.nats.start)

        async def accepted() -> bool:
            # The relay may be back, and publish, before whoever answers here is.
            await gateway.owners.catch_up(gateway.client.jetstream(), BackupRequested)
            shown = (await http.get(answer.headers["location"])).json()
            return bool(shown["state"] == "accepted")

        await eventually(accepted)


async def test_execution_of_another_organisations_configuration_is_not_found(gateway: RunningGateway) -> None:
    """Ids of others answer 404, and nothing is asked of anybody."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    async with gateway.http("owner", organisation="other") as http:
        answer = await http.post(
            EXECUTE, json={"configurationId": configuration["id"]}, headers={"Idempotency-Key": new_id()}
        )
    assert answer.status_code == 404
    assert problem_code(answer) == "configuration-unknown"
    assert len(gateway.owners.asked) == 1


async def test_largest_configuration_is_far_from_the_largest_event(gateway: RunningGateway) -> None:
    """What the API takes fits into its event, and into its owner's answer, however long each of its texts is."""
    wide = "\U0001f98b"
    body = {
        **NEW_CONFIGURATION,
        "name": wide * 200,
        "sourceIdentifier": "/".join([wide * 50] * 18),
        "tags": [f"{number:02}{wide * 62}" for number in range(50)],
    }
    async with gateway.http("owner") as http:
        answer = await http.post(CONFIGURATIONS, json=body, headers={"Idempotency-Key": new_id()})
        assert answer.status_code == 201, answer.text
        largest = max(len(encode(envelope)) for envelope in gateway.owners.asked)
    assert largest < EVENT_BYTES_MAX / 4


async def test_changed_configuration_is_shown_as_it_is_in_force(gateway: RunningGateway) -> None:
    """200 with the new version; who made it and when stays; its request says which version was seen."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http)
        place = f"{CONFIGURATIONS}/{created['id']}"
        body = {**NEW_CONFIGURATION, "name": "Photos of Ada and Ben", "isWeddingCritical": False}
        wrong = await http.put(
            place, json={**body, "sourceLocation": "nowhere"}, headers={"Idempotency-Key": new_id(), "If-Match": '"1"'}
        )
        assert problem_code(wrong) == errors.UNKNOWN_LOCATION.code
        gateway.owners.is_silent = True
        pending = await http.put(place, json=body, headers={"Idempotency-Key": new_id(), "If-Match": '"1"'})
        assert pending.json()["state"] == "pending"
        request = decode_data(gateway.owners.asked[-1])
        assert isinstance(request, ConfigurationChangeSubmitted)
        assert request.expected_version == 1
        fact = ConfigurationUpdated(
            request_id=request.request_id,
            configuration_id=created["id"],
            version=2,
            body=request.body,
            before=request.body,
        )
        await gateway.facts.publish(fact, actor="service:config")
        shown = await gateway.shows(place, lambda shown: shown["version"] == 2)
        changed = {"version": 2, "name": "Photos of Ada and Ben", "isWeddingCritical": False}
        assert shown == {**created, **changed}
        assert (await http.get(place)).headers["etag"].startswith('"2-')


async def test_write_that_is_sent_again_gets_no_etag_of_a_later_version(gateway: RunningGateway) -> None:
    """What somebody else has made of it meanwhile was not seen: the next change with its ETag would undo it unread."""
    async with gateway.http("owner") as http:
        creation = {"Idempotency-Key": new_id()}
        created = await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=creation)
        place = f"{CONFIGURATIONS}/{created.json()['id']}"
        mine, mine_again = ({**NEW_CONFIGURATION, "name": "Mine"}, {"Idempotency-Key": new_id(), "If-Match": '"1"'})
        changed = await http.put(place, json=mine, headers=mine_again)
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert (await http.put(place, json=mine, headers=mine_again)).text == changed.text
        theirs = {"Idempotency-Key": new_id(), "If-Match": '"2"'}
        await http.put(place, json={**NEW_CONFIGURATION, "name": "Theirs"}, headers=theirs)
        for again in (
            await http.put(place, json=mine, headers=mine_again),
            await http.post(CONFIGURATIONS, json=NEW_CONFIGURATION, headers=creation),
        ):
            assert (again.status_code, again.json()["state"]) == (202, "accepted")
            assert (again.json()["supersededBy"], again.json()["resource"]) == (3, place)
            assert "etag" not in again.headers
            assert "retry-after" not in again.headers


async def test_configuration_is_retired_with_a_second_factor_of_lately(gateway: RunningGateway) -> None:
    """It is readable with its state, and has no place in the status; nothing is asked of whoever has no such factor."""
    async with gateway.http("owner") as http:
        created = await gateway.create_configuration(http)
    place = f"{CONFIGURATIONS}/{created['id']}"
    gateway.owners.asked.clear()
    long_ago = ManualClock(datetime.now(UTC) - timedelta(seconds=FACTOR_SECONDS_MAX + 60))  # noqa: TID251  # as signed
    provider = IdentityProvider(gateway.provider._key, clock=long_ago)
    stale = provider.token(organisation=ORGANISATION, roles=["owner"], issuer=ISSUER, second_factor=True)
    for token in (gateway.token("owner"), stale):
        async with gateway.stranger() as http:
            denied = await http.delete(place, headers={"Authorization": f"Bearer {token}", "Idempotency-Key": new_id()})
        assert (denied.status_code, problem_code(denied)) == (403, errors.SECOND_FACTOR_NEEDED.code)
    assert not gateway.owners.asked

    gateway.owners.is_silent = True
    async with gateway.http("owner", second_factor=True) as http:
        pending = await http.delete(place, headers={"Idempotency-Key": new_id()})
        assert pending.json()["state"] == "pending"
        request = decode_data(gateway.owners.asked[-1])
        assert isinstance(request, ConfigurationRetirementRequested)
        submitted = decode_data(gateway.facts.published[0][1])
        assert isinstance(submitted, ConfigurationCreated)
        fact = ConfigurationRetired(
            request_id=request.request_id, configuration_id=created["id"], version=2, body=submitted.body
        )
        await gateway.facts.publish(fact)
        shown = await gateway.shows(place, lambda shown: shown["state"] == "retired")
        assert shown == {**created, "version": 2, "state": "retired", "nextRunReason": "retired"}
        assert (await http.get(CONFIGURATIONS)).json()["items"] == [shown]
        status = (await http.get("/api/backup/status")).json()
        assert (status["configurations"]["total"], status["oldestUnprotectedSource"]) == (0, None)
        done = (await http.get(pending.headers["location"])).json()
        assert (done["state"], done["resource"]) == ("accepted", place)


async def test_configuration_is_shown_paused_until_it_is_resumed(gateway: RunningGateway) -> None:
    """By itself, in the list and in the status, where it keeps its place: it is as unprotected as it was."""
    async with gateway.http("owner", second_factor=True) as http:
        created = await gateway.create_configuration(http)
        place = f"{CONFIGURATIONS}/{created['id']}"
        submitted = decode_data(gateway.facts.published[0][1])
        assert isinstance(submitted, ConfigurationCreated)
        gateway.owners.is_silent = True
        for version, write, fact, state in (
            (2, "pause", ConfigurationPaused, "paused"),
            (3, "resume", ConfigurationResumed, "active"),
        ):
            pending = await http.post(f"{place}/{write}", headers={"Idempotency-Key": new_id()})
            request = decode_data(gateway.owners.asked[-1])
            assert isinstance(request, ConfigurationPauseRequested | ConfigurationResumptionRequested)
            await gateway.facts.publish(
                fact(
                    request_id=request.request_id,
                    configuration_id=created["id"],
                    version=version,
                    body=submitted.body,
                )
            )
            shown = await gateway.shows(place, lambda shown, state=state: shown["state"] == state)
            assert shown == {
                **created,
                "version": version,
                "state": state,
                "nextRunReason": "paused" if state == "paused" else "no-schedule",
            }
            assert (await http.get(CONFIGURATIONS)).json()["items"] == [shown]
            status = (await http.get("/api/backup/status")).json()
            totals = status["configurations"]
            assert (totals["total"], totals["neverRun"], totals["paused"]) == (1, 1, int(state == "paused"))
            assert status["oldestUnprotectedSource"]["configurationId"] == created["id"]
            done = (await http.get(pending.headers["location"])).json()
            assert (done["state"], done["resource"]) == ("accepted", place)
