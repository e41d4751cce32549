"""Several configurations at once over HTTP: one result for each, in their order, and none recorded that cannot be."""

import asyncio
import time
from typing import Any

import httpx
import msgspec
import pytest

from chassis.ids import new_id
from contracts import errors
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationItemRefused, ConfigurationItemSubmitted
from gateway.projections.rebuild import rebuild
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, problem_code

pytestmark = pytest.mark.stack

PATH = "/api/backup/configurations/bulk-create"
WRONG = {**NEW_CONFIGURATION, "sourceLocation": "nowhere", "tags": ["\u202e"]}
UNREADABLE = {**NEW_CONFIGURATION, "surprise": 1, "name": 7}


def named(name: str) -> dict[str, Any]:
    """A configuration that nothing speaks against."""
    return {**NEW_CONFIGURATION, "name": name, "purpose": "Album of Ada", "dataCategories": ["photos"]}


async def send(http: httpx.AsyncClient, items: list[Any], *, key: str = "", **more: Any) -> httpx.Response:
    """Submit several."""
    return await http.post(PATH, json={"items": items, **more}, headers={"Idempotency-Key": key or new_id()})


async def recorded(gateway: RunningGateway, kind: type[Any]) -> int:
    """How many of an event there are in the gateway's record."""
    store = gateway.process.gateway.book._store
    return len([envelope for _, envelope in await store.events() if envelope.type == kind.NAME])


async def test_each_item_has_its_result_in_order(gateway: RunningGateway) -> None:
    """What is right is created, what is wrong told with all that is; once for a key, and to nobody else."""
    async with gateway.http("owner") as http, gateway.http("owner", organisation="other") as other:
        key = new_id()
        answer = await send(http, [WRONG, named("one"), UNREADABLE, named("two"), "nonsense"], key=key)
        assert answer.status_code == 207, answer.text
        told = answer.json()
        assert (told["state"], told["refusedItems"]) == ("accepted", 3)
        assert [each["index"] for each in told["items"]] == [0, 1, 2, 3, 4]
        states = ["refused", "accepted", "refused", "accepted", "refused"]
        assert [each["state"] for each in told["items"]] == states
        wrong, _, unreadable, _, nonsense = (each["problem"] for each in told["items"])
        assert [each["field"] for each in wrong["errors"]] == ["tags[0]", "sourceLocation"]
        assert {each["field"] for each in unreadable["errors"]} == {"surprise", "name"}
        assert nonsense["code"] == errors.INVALID_FIELD.code
        for name, item in (("one", told["items"][1]), ("two", told["items"][3])):
            shown = (await http.get(item["resource"])).json()
            assert (shown["id"], shown["name"], shown["createdBy"]) == (item["id"], name, "user:someone")
            assert (shown["purpose"], shown["dataCategories"]) == ("Album of Ada", ["photos"])
        assert not any(
            b"Ada" in bytes(envelope.data) for _, envelope in await gateway.process.gateway.book._store.events()
        )

        assert answer.headers["location"] == told["resource"]
        assert (await http.get(told["resource"])).json() == told
        assert (await send(http, [WRONG, named("one"), UNREADABLE, named("two"), "nonsense"], key=key)).json() == told
        changed = await send(http, [WRONG, named("one"), UNREADABLE, named("two"), "other"], key=key)
        assert problem_code(changed) == errors.IDEMPOTENCY_KEY_REUSED.code
        assert await recorded(gateway, ConfigurationItemSubmitted) == 2
        assert await recorded(gateway, ConfigurationItemRefused) == 3
        assert (await other.get(told["resource"])).status_code == 404

        whole = await send(http, [named("three")], mode="atomic")
        assert (whole.status_code, whole.json()["refusedItems"]) == (201, 0)


async def test_where_nothing_is_created_every_wrong_field_of_every_item_is_told(gateway: RunningGateway) -> None:
    """Of an atomic request with one wrong item, and where all are wrong: nothing of either is recorded."""
    async with gateway.http("owner") as http:
        for answer in (
            await send(http, [named("fine"), WRONG, UNREADABLE], mode="atomic"),
            await send(http, [WRONG, WRONG, UNREADABLE]),
        ):
            assert answer.status_code == 422, answer.text
            fields = {each["field"] for each in answer.json()["errors"]}
            assert {"items[1].tags[0]", "items[1].sourceLocation", "items[2].surprise", "items[2].name"} <= fields
            assert "items[0].name" not in fields
        assert await recorded(gateway, ConfigurationItemSubmitted) == 0
        assert await recorded(gateway, ConfigurationItemRefused) == 0
        for body, field in (
            ({"items": []}, "items"),
            ({"items": [1] * 1001}, "items"),
            ({"items": [named("one")], "mode": "other"}, "mode"),
            ({"items": [named("one")], "more": 1}, "more"),
        ):
            refused = await http.post(PATH, json=body, headers={"Idempotency-Key": new_id()})
            assert (refused.status_code, refused.json()["field"]) == (422, field)
        twice = b'{"items": [{"name": "a", "name": "b"}]}'
        headers = {"Idempotency-Key": new_id(), "Content-Type": "application/json"}
        assert (await http.post(PATH, content=twice, headers=headers)).json()["field"] == "name"
        large = await http.post(PATH, content=b" " * 2_200_000, headers=headers)
        assert (large.status_code, large.json()["context"]) == (413, {"limitBytes": 2 * 1024 * 1024})


async def test_what_is_given_up_is_told_of_each_item_and_a_rebuild_keeps_the_results(gateway: RunningGateway) -> None:
    """Nobody is left waiting for an item whose request is over; the read model made anew says the same."""
    async with gateway.http("owner") as http:
        made = await send(http, [named("one"), WRONG])
        assert made.status_code == 207, made.text
        gateway.owners.refuse = errors.NOT_HANDLED.code
        given_up = await send(http, [named("two"), WRONG])
        # Not what is wrong with one of them: that would be no reason for the other.
        assert problem_code(given_up) == errors.NOT_HANDLED.code
        asked = gateway.owners.asked[-1]
        path = f"/api/backup/requests/{msgspec.json.decode(asked.data)['requestId']}"
        told = (await http.get(path)).json()
        assert (told["state"], told["problem"]["code"]) == ("refused", errors.NOT_HANDLED.code)
        assert [each["state"] for each in told["items"]] == ["refused", "refused"]
        assert told["items"][0]["problem"]["code"] == errors.NOT_HANDLED.code
        gateway.owners.items.clear()
        gateway.owners.refuse = errors.BULK_REFUSED.code
        refused = await send(http, [named("three"), named("four")], mode="atomic")
        assert problem_code(refused) == errors.CONFIGURATION_NAME_TAKEN.code
        assert [each["field"] for each in refused.json()["errors"]] == ["items[0].name", "items[1].name"]
        before = (await http.get(made.json()["resource"])).json()
        await rebuild(gateway.settings)
        assert (await http.get(path)).json()["items"] == told["items"]
        assert (await http.get(made.json()["resource"])).json() == before == made.json()


async def test_a_thousand_hold_nobody_else_and_count_as_a_thousand_writes(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are looked at, sealed and recorded, the loop goes on; the person's next write waits for its turn.

    What was never taken down counts for nothing.
    """

    async def is_away(*_: object, **__: object) -> None:
        raise PlatformError(errors.UNAVAILABLE, "postgres does not answer")

    with monkeypatch.context() as away:
        away.setattr(gateway.process.gateway.book._store, "save", is_away)
        async with gateway.http("owner") as http:
            lost = await send(http, [named(f"number {number}") for number in range(250)])
            assert problem_code(lost) == errors.UNAVAILABLE.code
    pauses: list[float] = []
    is_over = asyncio.Event()

    async def feel() -> None:
        while not is_over.is_set():
            begun = time.monotonic()
            await asyncio.sleep(0.005)
            pauses.append(time.monotonic() - begun - 0.005)

    feeling = asyncio.create_task(feel())
    gateway.owners.is_silent = True
    async with gateway.http("owner") as http:
        answer = await send(http, [named(f"number {number}") for number in range(1000)])
        is_over.set()
        await feeling
        assert (answer.status_code, answer.json()["state"]) == (202, "pending"), answer.text
        assert len(answer.json()["items"]) == 1000
        waits = await send(http, [named("next")])
        assert problem_code(waits) == errors.TOO_MANY_REQUESTS.code
        assert int(waits.headers["retry-after"]) > 60
    # Many turns, none of them the whole: what this says of time, a busy machine must not decide.
    assert len(pauses) > 50
