"""Several configurations at once: one answer for each, recorded together, whatever comes twice or dies in between."""

import asyncio
from collections.abc import Sequence

import pytest

from chassis.context import Context
from chassis.handling import Handled, Handling
from chassis.ids import new_id
from chassis.record.statements import AlreadyHandled
from contracts import errors
from contracts.config_events import (
    ConfigurationCreated,
    ConfigurationRefused,
    ConfigurationsCreated,
    ConfigurationsRefused,
)
from contracts.configuration import BulkMode, ConfigurationBody, Destination
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import ConfigurationItemSubmitted, ConfigurationsSubmitted
from contracts.schedule import Schedule
from services.config import bulk
from tests.component.config.test_changes import EVIDENCE, Desk
from tests.component.config.test_config_service import OTHER_STUDIO, STUDIO
from tests.support.configurations import body, destinations

pytestmark = pytest.mark.stack


def several(
    mode: BulkMode, *bodies: ConfigurationBody
) -> tuple[ConfigurationsSubmitted, list[ConfigurationItemSubmitted]]:
    """A request for configurations, and its items."""
    request = ConfigurationsSubmitted(request_id=new_id(), mode=mode, items=len(bodies), evidence=EVIDENCE)
    items = [
        ConfigurationItemSubmitted(
            request_id=new_id(),
            configuration_id=new_id(),
            body=each,
            evidence=EVIDENCE,
            bulk_id=request.request_id,
            # As it is where the gateway has refused some of them.
            position=place * 2,
        )
        for place, each in enumerate(bodies)
    ]
    return request, items


async def answers(desk: Desk, items: Sequence[ConfigurationItemSubmitted]) -> list[Event]:
    """The one answer that each has."""
    return [await desk.answer_to(item) for item in items]


async def ask(desk: Desk, mode: BulkMode, *bodies: ConfigurationBody) -> tuple[Event, list[Event]]:
    """Submit several; the answer to the whole, and those to each."""
    request, items = several(mode, *bodies)
    for item in reversed(items):
        await desk.hear(item)
    await desk.hear(request)
    (whole,) = await desk.told(request.request_id)
    assert await desk.gathered.count(request.request_id) == 0
    return whole, await answers(desk, items)


async def test_those_that_are_right_are_created_and_the_others_refused(desk: Desk) -> None:
    """Each by its own rules; of a name the first gets it, and none gets one that is taken."""
    whole, told = await ask(
        desk,
        BulkMode.PARTIAL,
        body("first", schedule=Schedule(cron="0 * * * *")),
        body("smith"),
        body("lost", source_location="nowhere", retention_policy_id=new_id()),
        body("first"),
        body("last"),
    )
    assert isinstance(whole, ConfigurationsCreated)
    assert (whole.created, whole.refused) == (2, 3)
    first, taken, lost, twice, last = told
    assert isinstance(first, ConfigurationCreated)
    assert isinstance(last, ConfigurationCreated)
    assert first.next_run_at is not None
    assert (await desk.turns.look(first.configuration_id)).waits_for == first.next_run_at
    assert all(isinstance(each, ConfigurationRefused) for each in (taken, lost, twice))
    assert [each.code for each in (taken, twice)] == [errors.CONFIGURATION_NAME_TAKEN.code] * 2  # type: ignore[attr-defined]  # as asserted
    assert [each.field for each in lost.wrong] == ["sourceLocation", "retentionPolicyId"]  # type: ignore[attr-defined]  # as asserted
    assert isinstance(await desk.create(body("last"), new_id()), ConfigurationRefused)


async def test_of_an_atomic_request_nothing_is_created_where_one_is_refused(desk: Desk) -> None:
    """All that is wrong is told of each; of the others that they fell with it, and their names are free."""
    unlocked = destinations(local=Destination(location="local", lock_days=1))
    whole, told = await ask(
        desk, BulkMode.ATOMIC, body("fine"), body("bad", source_location="x", storage_destinations=unlocked)
    )
    assert isinstance(whole, ConfigurationsRefused)
    assert whole.code == errors.BULK_REFUSED.code
    fine, bad = told
    assert isinstance(fine, ConfigurationRefused)
    assert isinstance(bad, ConfigurationRefused)
    assert (fine.code, fine.field) == (errors.BULK_REFUSED.code, None)
    assert [each.field for each in bad.wrong] == ["sourceLocation", "storageDestinations.local.lockDays"]
    whole, told = await ask(desk, BulkMode.ATOMIC, body("fine"), body("good"))
    assert isinstance(whole, ConfigurationsCreated)
    assert (whole.created, whole.refused) == (2, 0)
    assert all(isinstance(each, ConfigurationCreated) for each in told)


async def test_request_of_which_nothing_can_be_is_refused_in_either_mode(desk: Desk) -> None:
    """Nobody is told yes who got nothing."""
    whole, told = await ask(desk, BulkMode.PARTIAL, body("smith"))
    assert isinstance(whole, ConfigurationsRefused)
    (refused,) = told
    assert isinstance(refused, ConfigurationRefused)


async def test_request_waits_for_its_items_and_is_decided_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes first, comes again or dies in between; replicas that decide at once have one answer."""
    monkeypatch.setattr(bulk, "LOOKS", 1)
    monkeypatch.setattr(bulk, "LOOK_SECONDS", 0.001)
    request, items = several(BulkMode.PARTIAL, *(body(f"number {number}") for number in range(40)))
    for item in items[:-1]:
        await desk.hear(item)
    await desk.hear(items[0])  # Under another message's id.
    with pytest.raises(PlatformError) as waits:
        await desk.hear(request)
    assert waits.value.code is errors.BULK_NOT_SEEN_YET
    assert await desk.told(items[0].configuration_id) == []
    await desk.hear(items[-1])
    await asyncio.gather(*(desk.hear(request) for _ in range(4)))
    await desk.hear(request)
    (whole,) = await desk.told(request.request_id)
    assert isinstance(whole, ConfigurationsCreated)
    assert whole.created == 40
    assert all(isinstance(each, ConfigurationCreated) for each in await answers(desk, items))


async def test_crash_before_the_answer_leaves_all_of_it_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one after it leaves nothing: the same message is recognised."""
    request, items = several(BulkMode.PARTIAL, body("one"), body("two"))
    for item in items:
        await desk.hear(item)
    save = desk.store.save

    async def dies(*aggregates: object, **more: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(desk.store, "save", dies)
    with pytest.raises(ConnectionError):
        await desk.hear(request)
    monkeypatch.setattr(desk.store, "save", save)
    assert await desk.gathered.count(request.request_id) == 2
    await desk.hear(request)
    assert all(isinstance(each, ConfigurationCreated) for each in await answers(desk, items))

    context = Context(organisation=STUDIO, actor="user:u1", correlation_id="correlation-1")
    twice = Handling(context=context, handled=Handled("config--gather-configuration", new_id()))
    (again,) = several(BulkMode.PARTIAL, body("three"))[1]
    await desk.gathered.keep(again, twice)
    with pytest.raises(AlreadyHandled):
        await desk.gathered.keep(again, twice)


async def test_names_and_locations_are_the_organisations_own(desk: Desk) -> None:
    """A name that another organisation has is free, and its location is as good as none."""
    request, (theirs, ours) = several(BulkMode.PARTIAL, body("smith"), body("mine", source_location="mine"))
    for event in (theirs, ours, request):
        await desk.hear(event, OTHER_STUDIO)
    assert all(isinstance(each, ConfigurationCreated) for each in await answers(desk, [theirs, ours]))
    whole, _ = await ask(desk, BulkMode.ATOMIC, body("mine", source_location="mine"))
    assert isinstance(whole, ConfigurationsRefused)
