"""What every declared write keeps, whatever it is about: found by itself, so that being there is being tested."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.middleware import DefineMiddleware

from chassis.ids import new_id
from contracts import errors
from contracts.approval_events import ApprovalAsked
from contracts.config_events import NotificationChannelCreated, RetentionPolicyCreated
from contracts.dr_events import DrPlanCreated
from contracts.dr_execution_events import DrExecutionStarted
from contracts.envelope import decode_data
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.executor_events import BackupAccepted, BackupRefused
from contracts.gateway_events import ADDRESS_FIELD, AGENT_FIELD, BackupRequested
from contracts.hold_events import HoldPlaced
from contracts.samples import sample_event
from contracts.validation_events import RecoveryValidationAccepted
from gateway.auth.guards import Authentication
from gateway.auth.rights import Right, Role, roles_with
from gateway.endpoints.declared import handler_of
from gateway.groups.executions.examples import NEW_EXECUTION
from gateway.groups.executions.resources import NewExecution
from gateway.http import problems
from gateway.http.web import StrictRequest
from gateway.runs.examples import CONFIGURATION_ID
from gateway.writes.declaration import API_PREFIX, Asked, Draft, Write, declared
from gateway.writes.queries import resource_path
from gateway.writes.resources import RequestState
from gateway.writes.things import (
    APPROVAL,
    CHANNEL,
    CONFIGURATION,
    DR_EXECUTION,
    DR_PLAN,
    ERASURE,
    HOLD,
    RECOVERY,
    RETENTION_POLICY,
    RUN,
    VALIDATION,
)
from tests.support.gateway import NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

REFUSED = errors.RUN_FINISHED
BODIES = {
    "create-configuration": NEW_CONFIGURATION,
    "update-configuration": NEW_CONFIGURATION,
    "bulk-create-configurations": {"mode": "atomic", "items": [NEW_CONFIGURATION]},
}
"""In place of a declaration's example, which names what the embedded stack has."""


@dataclass
class Client:
    """Somebody who sends one write."""

    write: Write[Any]
    http: httpx.AsyncClient
    target: str
    there: dict[str, Any]

    async def send(self, key: str | None, *, target: str = "", seen: str = '"1"', **changes: Any) -> httpx.Response:
        """Send it under a key, to its own target or to another one, as it was `seen`."""
        body = _body(self.write, self.there)
        return await self.http.request(
            self.write.METHOD,
            _path(self.write, target or self.target),
            json=None if body is None else {**body, **changes},
            headers={
                "User-Agent": "studio/1.0",
                **({"Idempotency-Key": key} if key else {}),
                **({"If-Match": seen} if seen and self.write.IF_MATCH else {}),
            },
        )


async def _run(gateway: RunningGateway, configuration: str) -> str:
    run = await gateway.facts.accepted(configuration_id=configuration)
    await gateway.shows(f"/api/backup/executions/{run}", lambda _: True)
    return run


async def _policy(gateway: RunningGateway) -> str:
    made = msgspec.structs.replace(sample_event(RetentionPolicyCreated), retention_policy_id=new_id())
    await gateway.facts.publish(made, organisation=ORGANISATION, actor="service:owner", correlation_id=made.request_id)
    await gateway.shows(f"/api/backup/retention/policies/{made.retention_policy_id}", lambda _: True)
    return made.retention_policy_id


async def _channel(gateway: RunningGateway) -> str:
    made = msgspec.structs.replace(sample_event(NotificationChannelCreated), channel_id=new_id())
    await gateway.facts.publish(made, organisation=ORGANISATION, actor="service:owner", correlation_id=made.request_id)
    await gateway.shows(f"/api/backup/notifications/channels/{made.channel_id}", lambda _: True)
    return made.channel_id


async def _plan(gateway: RunningGateway, configuration: str | None = None) -> str:
    made = msgspec.structs.replace(sample_event(DrPlanCreated), plan_id=new_id())
    if configuration is not None:
        replace, body = msgspec.structs.replace, made.body
        steps = tuple(
            replace(each, configuration_id=each.configuration_id and configuration) for each in body.procedures
        )
        made = replace(made, body=replace(body, procedures=steps, backup_sources=()))
    return await _shown(gateway, made, f"/api/backup/disaster-recovery/plans/{made.plan_id}")


async def _execution(gateway: RunningGateway) -> str:
    begun = msgspec.structs.replace(sample_event(DrExecutionStarted), execution_id=new_id())
    return await _shown(gateway, begun, f"/api/backup/disaster-recovery/executions/{begun.execution_id}")


async def _hold(gateway: RunningGateway) -> str:
    placed = msgspec.structs.replace(sample_event(HoldPlaced), hold_id=new_id())
    return await _shown(gateway, placed, f"/api/backup/retention/holds/{placed.hold_id}")


async def _approval(gateway: RunningGateway) -> str:
    asked = msgspec.structs.replace(sample_event(ApprovalAsked), approval_id=new_id())
    return await _shown(gateway, asked, f"/api/backup/approvals/{asked.approval_id}")


async def _validation(gateway: RunningGateway) -> str:
    accepted = msgspec.structs.replace(sample_event(RecoveryValidationAccepted), validation_id=new_id())
    return await _shown(gateway, accepted, f"/api/backup/recovery/validations/{accepted.validation_id}")


async def _shown(gateway: RunningGateway, made: Event, path: str) -> str:
    """The id of what a fact has made, once it is shown."""
    await gateway.facts.publish(made, organisation=ORGANISATION, actor="service:owner", correlation_id=new_id())
    await gateway.shows(path, lambda _: True)
    return path.rpartition("/")[2]


async def _recovery(gateway: RunningGateway, configuration: str) -> str:
    recovery = await gateway.facts.recovering(configuration_id=configuration)
    await gateway.shows(f"/api/backup/recovery/operations/{recovery}", lambda _: True)
    return recovery


async def _point(gateway: RunningGateway, configuration: str) -> str:
    run = await gateway.facts.accepted(configuration_id=configuration)
    await gateway.facts.complete(run, configuration)
    await gateway.shows(f"/api/backup/recovery-points/{run}", lambda _: True)
    return run


@pytest.mark.parametrize("name", declared())
async def test_declared_write_keeps_what_every_write_keeps(gateway: RunningGateway, name: str) -> None:
    """Who may not is refused; who may gets the owner's yes or no, once for each key, or is told where it will be."""
    write = declared()[name]
    async with gateway.http("owner") as http:
        configuration = (await gateway.create_configuration(http, name="There before"))["id"]
        another = (await gateway.create_configuration(http, name="Another one"))["id"]
    there: dict[str, Any] = {"configurationId": configuration, "configurationIds": [configuration]}
    other_there: dict[str, Any] = {"configurationId": another, "configurationIds": [another]}
    if write.NAME in ("initiate-recovery", "validate-recovery-point"):
        there["recoveryPointId"] = await _point(gateway, configuration)
        other_there["recoveryPointId"] = await _point(gateway, configuration)
    if write.OF is DR_EXECUTION and write.MAKES:
        await _point(gateway, configuration)
        there["planId"] = await _plan(gateway, configuration)
        other_there["planId"] = await _plan(gateway, configuration)
    if write.OF is ERASURE:
        for person, called in ((there, "ada@example.com"), (other_there, "ben@example.com")):
            async with gateway.http("owner") as http:
                await gateway.create_configuration(http, name=called, dataSubject=called)
            person["dataSubject"] = called
    gateway.owners.asked.clear()
    if write.OF is CONFIGURATION:
        targets = [configuration, another]
    elif write.OF is RETENTION_POLICY:
        targets = [await _policy(gateway), await _policy(gateway)]
    elif write.OF is CHANNEL:
        targets = [await _channel(gateway), await _channel(gateway)]
    elif write.OF is DR_PLAN:
        targets = [await _plan(gateway), await _plan(gateway)]
    elif write.OF is DR_EXECUTION:
        targets = [await _execution(gateway), await _execution(gateway)]
    elif write.OF is HOLD:
        targets = [await _hold(gateway), await _hold(gateway)]
    elif write.OF is APPROVAL:
        targets = [await _approval(gateway), await _approval(gateway)]
    elif write.OF is VALIDATION and write.is_targeted:
        targets = [await _validation(gateway), await _validation(gateway)]
    elif write.OF is RECOVERY:
        targets = [await _recovery(gateway, configuration), await _recovery(gateway, configuration)]
    else:
        targets = [await _run(gateway, configuration), await _run(gateway, configuration)]

    stranger = next(role for role in Role if role not in roles_with(write.RIGHT))
    async with gateway.http(stranger.value) as http:
        denied = await Client(write, http, targets[0], there).send(new_id())
        assert (denied.status_code, problem_code(denied)) == (403, errors.FORBIDDEN.code)
    assert not gateway.owners.asked

    if write.SECOND_FACTOR:
        async with gateway.http(roles_with(write.RIGHT)[0].value) as http:
            denied = await Client(write, http, targets[0], there).send(new_id())
            assert problem_code(denied) == errors.SECOND_FACTOR_NEEDED.code
    async with gateway.http(roles_with(write.RIGHT)[0].value, second_factor=write.SECOND_FACTOR) as http:
        client = Client(write, http, targets[0], there)
        assert problem_code(await client.send(None)) == errors.IDEMPOTENCY_KEY_MISSING.code

        key = new_id()
        accepted = await client.send(key)
        assert accepted.status_code in {202, *(answer.status for answer in write.ANSWERS)}, accepted.text
        assert (await client.send(key)).text == accepted.text
        (envelope,) = gateway.owners.asked
        event = decode_data(envelope)
        assert isinstance(event, write.REQUEST)
        await _proves_who_asked(gateway, event)
        assert event.evidence.second_factor is write.SECOND_FACTOR  # type: ignore[attr-defined]  # every request's
        if accepted.status_code == 202:
            assert accepted.json()["state"] == "accepted"
            assert accepted.json()["kind"] == name
            shown = accepted.json()["resource"]
            assert shown is None if write.REMOVES else shown.startswith(API_PREFIX + write.OF.path.partition("{")[0])

        changed = {} if write.is_targeted else _other(write, there, other_there)
        other = await client.send(key, target=targets[1], **changed)
        assert problem_code(other) == errors.IDEMPOTENCY_KEY_REUSED.code

        if write.is_targeted:
            for nowhere in (new_id(), "no-id"):
                assert (await client.send(new_id(), target=nowhere)).status_code == 404
        if write.BODY is None:
            sent = await http.request(write.METHOD, _path(write, targets[0]), content=b'{"a":1}', headers=_key())
            assert problem_code(sent) == errors.UNKNOWN_FIELD.code
        if write.IF_MATCH:
            assert problem_code(await client.send(new_id(), seen="")) == errors.IF_MATCH_MISSING.code

        gateway.owners.refuse = REFUSED.code
        refused = await client.send(new_id(), target=targets[1])
        assert (refused.status_code, problem_code(refused)) == (REFUSED.status, REFUSED.code)
        assert refused.json()["field"] == "name"
        assert [each["field"] for each in refused.json()["errors"]] == ["name", "tags[0]"]

        gateway.owners.refuse, gateway.owners.is_silent = None, True
        pending = await client.send(new_id(), target=targets[1])
        assert (pending.status_code, pending.json()["state"]) == (202, "pending")
        # What it makes is not there yet: an address would answer that it never will be.
        assert (pending.json()["resource"] is None) == (write.MAKES or not write.is_targeted)
        assert pending.headers["location"] == f"{API_PREFIX}/requests/{pending.json()['id']}"
        await gateway.owners.answer(gateway.owners.asked[-1], decode_data(gateway.owners.asked[-1]))
        shown = await gateway.shows(pending.headers["location"], lambda shown: shown["state"] == "accepted")
        # However often it is asked, and by whichever table: when it was submitted never changes.
        assert shown["submittedAt"] == pending.json()["submittedAt"]
        assert write.REMOVES or (await http.get(shown["resource"])).status_code == 200


class ChangeRun(Write[NewExecution]):
    """Something is changed that is there, by a body, as it was seen."""

    NAME = "change-run"
    SUMMARY = "Change a run"
    METHOD = "PUT"
    PATH = "/executions/{execution_id:str}"
    OF = RUN
    IF_MATCH = True
    RIGHT = Right.RUN_BACKUPS
    BODY = NewExecution
    EXAMPLE = ("changed", NEW_EXECUTION)
    REQUEST, ACCEPTED, REFUSED = BackupRequested, BackupAccepted, BackupRefused

    is_gone = False

    async def draft(self, asked: Asked[NewExecution]) -> Draft:
        """Of the version that was seen."""
        if self.is_gone:
            raise PlatformError(errors.NOT_FOUND, "it is gone since")
        return Draft(
            lambda new: BackupRequested(
                request_id=new.request_id,
                execution_id=new.resource_id,
                configuration_id=asked.body.configuration_id,
                configuration_version=asked.seen or 0,
                evidence=new.evidence,
            )
        )


@asynccontextmanager
async def _changing(gateway: RunningGateway, write: Write[Any]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway's parts, where this write is the only route."""
    parts = gateway.process.gateway
    people = {"verifier": parts.verifier, "people": parts.people, "strangers": parts.strangers}
    app: Any = Litestar(
        [Router(API_PREFIX, route_handlers=[handler_of(write)])],
        middleware=[DefineMiddleware(Authentication, **people)],
        exception_handlers={Exception: problems.respond},
        request_class=StrictRequest,
        state=State({"gateway": parts}),
        openapi_config=None,
    )
    headers = {"Authorization": f"Bearer {gateway.token('operator')}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=gateway.url, headers=headers) as http:
        yield http


async def test_write_with_a_body_and_a_version_is_of_what_was_seen(gateway: RunningGateway) -> None:
    """Body, thing and version are one request: another of any of them under the same key is refused."""
    run, another = new_id(), new_id()
    async with _changing(gateway, ChangeRun()) as http:
        client, key = Client(ChangeRun(), http, run, there={"configurationId": new_id()}), new_id()
        assert problem_code(await client.send(key, seen="")) == errors.IF_MATCH_MISSING.code
        for nonsense in ("*", "7", '"7", "8"', '"x"', 'W/"7"', '"07"'):
            assert problem_code(await client.send(key, seen=nonsense)) == errors.INVALID_FIELD.code
        accepted = await client.send(key, seen='"7"')
        assert accepted.json()["state"] == "accepted", accepted.text
        (envelope,) = gateway.owners.asked
        event = decode_data(envelope)
        assert isinstance(event, BackupRequested)
        assert (event.execution_id, event.configuration_version) == (run, 7)
        assert (await client.send(key, seen='"7"')).json() == accepted.json()
        for other in ({"seen": '"8"'}, {"seen": '"7"', "target": another}, {"seen": '"7"', "configurationId": another}):
            assert problem_code(await client.send(key, **other)) == errors.IDEMPOTENCY_KEY_REUSED.code


async def test_write_that_is_sent_again_gets_its_answer_when_its_thing_is_gone_since(gateway: RunningGateway) -> None:
    """Whoever deletes, and asks again since no answer came, is not told that there was nothing."""
    write = ChangeRun()
    async with _changing(gateway, write) as http:
        client, key = Client(write, http, new_id(), there={"configurationId": new_id()}), new_id()
        accepted = await client.send(key)
        assert accepted.json()["state"] == "accepted", accepted.text
        write.is_gone = True
        assert (await client.send(key)).json() == accepted.json()
        assert problem_code(await client.send(new_id())) == errors.NOT_FOUND.code


class ForgetRun(ChangeRun):
    """Something is removed that is there: no write of the API is of this kind yet."""

    NAME = "forget-run"
    METHOD = "DELETE"
    REMOVES = True


def test_what_is_removed_has_an_address_until_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is sent to where nothing is any more, nor told of nothing while it is still there."""
    write, identity = ForgetRun(), new_id()
    monkeypatch.setattr("gateway.writes.queries.declared", lambda: {write.NAME: write})
    shown = {state: resource_path(write.NAME, new_id(), identity, state) for state in RequestState}
    path = f"{API_PREFIX}/executions/{identity}"
    assert shown.pop(RequestState.ACCEPTED) is None
    assert set(shown.values()) == {path}


def test_names_under_which_keys_are_remembered_never_change() -> None:
    """Whoever sends a write again after an update gets the answer of the first time."""
    assert declared()["cancel-backup"].route == "POST /api/backup/executions/{resource_id:str}/cancel"
    assert declared()["execute-backup"].route == "POST /api/backup/execute"


def test_write_that_has_more_to_say_drafts_its_request_itself() -> None:
    """What a body says is not left out in silence."""
    with pytest.raises(TypeError, match="draft"):

        class Forgetful(Write[NewExecution]):
            PATH = "/executions/{execution_id:str}/forget"
            BODY = NewExecution


async def _proves_who_asked(gateway: RunningGateway, event: Any) -> None:
    evidence, sealer = event.evidence, gateway.process.gateway.sealer
    assert evidence.factor_at is not None
    assert sealer.open(ORGANISATION, ADDRESS_FIELD, evidence.address) == "127.0.0.1"
    assert sealer.open(ORGANISATION, AGENT_FIELD, evidence.agent) == "studio/1.0"


def _body(write: Write[Any], there: Mapping[str, Any]) -> Any:
    body = BODIES.get(write.NAME) or (write.EXAMPLE and msgspec.to_builtins(write.EXAMPLE[1]))
    if body is None:
        return None
    # Wherever it is named, also within what it says.
    text = msgspec.json.encode(body).replace(CONFIGURATION_ID.encode(), there["configurationId"].encode())
    body = msgspec.json.decode(text)
    return {**body, **{name: identity for name, identity in there.items() if name in body}}


def _path(write: Write[Any], target: str) -> str:
    return API_PREFIX + write.PATH.replace(f"{{{write.OF.about}:str}}", target)


def _key() -> dict[str, str]:
    return {"Idempotency-Key": new_id(), "Content-Type": "application/json"}


def _other(write: Write[Any], there: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """What makes another body of a write's own: another thing, or another text in its first field that has one."""
    body = _body(write, there)
    if write.ITEMS is not None:
        return {"mode": "partial"}
    if write.NAME == "audit-compliance":
        return {"frameworks": ["sox"]}
    if write.NAME == "attest":
        return {"statement": "Nothing to be said"}
    if write.NAME == "repair-storage":
        return {"locations": ["offsite"]}
    if write.NAME == "optimize-storage":
        return {"dryRun": False}
    field = next(field for field, value in body.items() if isinstance(value, str | list))
    return {field: others.get(field, others["configurationId"])}
