"""What every declared write keeps, whatever it is about: found by itself, so that being there is being tested."""

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest

from chassis.ids import new_id
from contracts import errors
from contracts.envelope import decode_data
from contracts.gateway_events import ADDRESS_FIELD, AGENT_FIELD
from gateway.auth.principal import READERS, Role
from gateway.writes.declaration import API_PREFIX, Write, declared
from tests.support.gateway import NEW_CONFIGURATION, ORGANISATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

REFUSED = errors.RUN_FINISHED
BODIES = {"create-configuration": NEW_CONFIGURATION}
"""In place of a declaration's example, which names what the embedded stack has."""


@dataclass
class Client:
    """Somebody who sends one write."""

    write: Write[Any]
    http: httpx.AsyncClient
    target: str
    configuration: str

    async def send(self, key: str, *, target: str = "", **changes: Any) -> httpx.Response:
        """Send it under a key, to its own target or to another one."""
        body = _body(self.write, self.configuration)
        return await self.http.post(
            _path(self.write, target or self.target),
            json=None if body is None else {**body, **changes},
            headers={"Idempotency-Key": key, "User-Agent": "studio/1.0"},
        )


async def _run(gateway: RunningGateway, configuration: str) -> str:
    run = await gateway.facts.accepted(configuration_id=configuration)
    await gateway.shows(f"/api/backup/executions/{run}", lambda _: True)
    return run


@pytest.mark.parametrize("name", declared())
async def test_declared_write_keeps_what_every_write_keeps(gateway: RunningGateway, name: str) -> None:
    """Who may not is refused; who may gets the owner's yes or no, once for each key, or is told where it will be."""
    write = declared()[name]
    async with gateway.http("owner") as http:
        configuration = (await gateway.create_configuration(http, name="There before"))["id"]
        another = (await gateway.create_configuration(http, name="Another one"))["id"]
    gateway.owners.asked.clear()
    targets = [await _run(gateway, configuration), await _run(gateway, configuration)]

    stranger = next(role for role in Role if role not in write.ROLES)
    async with gateway.http(stranger.value) as http:
        denied = await Client(write, http, targets[0], configuration).send(new_id())
        assert (denied.status_code, problem_code(denied)) == (403, errors.FORBIDDEN.code)
    assert not gateway.owners.asked
    assert write.ROLES <= READERS

    async with gateway.http(min(write.ROLES).value) as http:
        client = Client(write, http, targets[0], configuration)
        unnamed = await http.post(_path(write, targets[0]), json=_body(write, configuration))
        assert problem_code(unnamed) == errors.IDEMPOTENCY_KEY_MISSING.code

        key = new_id()
        accepted = await client.send(key)
        assert accepted.status_code in {202, *(answer.status for answer in write.ANSWERS)}, accepted.text
        assert (await client.send(key)).text == accepted.text
        (envelope,) = gateway.owners.asked
        event = decode_data(envelope)
        assert isinstance(event, write.REQUEST)
        await _proves_who_asked(gateway, event)
        if accepted.status_code == 202:
            assert accepted.json()["state"] == "accepted"
            assert accepted.json()["kind"] == name
            assert accepted.json()["resource"].startswith(API_PREFIX + write.RESOURCE.partition("{")[0])

        changed = {} if write.is_targeted else _other(write, configuration, another)
        other = await client.send(key, target=targets[1], **changed)
        assert problem_code(other) == errors.IDEMPOTENCY_KEY_REUSED.code

        if write.is_targeted:
            for nowhere in (new_id(), "no-id"):
                assert (await client.send(new_id(), target=nowhere)).status_code == 404
            sent = await http.post(_path(write, targets[0]), content=b'{"a":1}', headers=_key())
            assert problem_code(sent) == errors.UNKNOWN_FIELD.code

        gateway.owners.refuse = REFUSED.code
        refused = await client.send(new_id(), target=targets[1])
        assert (refused.status_code, problem_code(refused)) == (REFUSED.status, REFUSED.code)
        assert refused.json()["field"] == "name"

        gateway.owners.refuse, gateway.owners.is_silent = None, True
        pending = await client.send(new_id(), target=targets[1])
        assert (pending.status_code, pending.json()["state"]) == (202, "pending")
        assert pending.headers["location"] == f"{API_PREFIX}/requests/{pending.json()['id']}"
        await gateway.owners.answer(gateway.owners.asked[-1], decode_data(gateway.owners.asked[-1]))
        await gateway.shows(pending.headers["location"], lambda shown: shown["state"] == "accepted")


async def _proves_who_asked(gateway: RunningGateway, event: Any) -> None:
    evidence, sealer = event.evidence, gateway.process.gateway.sealer
    assert evidence.factor_at is not None
    assert sealer.open(ORGANISATION, ADDRESS_FIELD, evidence.address) == "127.0.0.1"
    assert sealer.open(ORGANISATION, AGENT_FIELD, evidence.agent) == "studio/1.0"


def _body(write: Write[Any], configuration: str) -> Any:
    body = BODIES.get(write.NAME) or (write.EXAMPLE and msgspec.to_builtins(write.EXAMPLE[1]))
    return {**body, "configurationId": configuration} if body and "configurationId" in body else body


def _path(write: Write[Any], target: str) -> str:
    return API_PREFIX + write.PATH.replace("{resource_id:str}", target)


def _key() -> dict[str, str]:
    return {"Idempotency-Key": new_id(), "Content-Type": "application/json"}


def _other(write: Write[Any], configuration: str, another: str) -> dict[str, Any]:
    """What makes another body of a write's own: another text in its first field that has one."""
    field = next(field for field, value in _body(write, configuration).items() if isinstance(value, str))
    return {field: another}
