"""Disaster recovery plans: what the owner records of what is asked, whoever is faster, and where it is killed."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.context import Context
from chassis.handling import Handled, Handling, deal_with
from chassis.ids import new_id
from chassis.locations import Locations
from chassis.postgres.database import open_pool
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.disaster import PlanBody
from contracts.dr_events import DrPlanChangeRefused, DrPlanCreated, DrPlanRefused, DrPlanUpdated
from contracts.envelope import decode_data
from contracts.event import Event
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted, Evidence
from contracts.sample_values import PLAN_BODY
from services.dr.adapters.record import RecordedPlans
from services.dr.adapters.schema import STATEMENTS
from services.dr.adapters.turns import RecordedTurns
from services.dr.bootstrap import SERVICE, use_cases
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

EVIDENCE = Evidence(assurance="aal1", roles=("owner",))
STUDIO, OTHER_STUDIO = "studio-a", "studio-b"


@dataclass
class Desk:
    """What decides, over real Postgres, asked as its handlers ask."""

    store: EventStore
    pool: Pool
    locations: Locations

    async def hear(self, event: Event, organisation: str = STUDIO, *, event_id: str | None = None) -> None:
        """Deal with a request."""
        context = Context(organisation=organisation, actor="user:u1", correlation_id="correlation-1")
        nothing: Any = None  # plans need no more
        turns = RecordedTurns(self.store, self.pool)
        every = use_cases(RecordedPlans(self.store), self.locations, nothing, nothing, turns, nothing)
        (taker,) = event.TAKEN_BY
        await deal_with(
            every[type(event)], event, Handling(context=context, handled=Handled(taker, event_id or new_id()))
        )

    async def told(self, identity: str) -> list[Event]:
        """All that is recorded of an id."""
        return [decode_data(each) for each in await self.store.history(identity)]


@pytest.fixture
async def desk(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Desk]:
    access = postgres.fresh(statements=STATEMENTS, prefix="dr")
    file = tmp_path / "locations.json"
    target = {"name": "restored", "kind": "directory", "roles": ["target"], "organisations": [STUDIO]}
    file.write_text(json.dumps({"locations": [{**target, "url": f"file://{tmp_path}/back"}]}))
    store = EventStore(dsn=access.dsn, schema=access.schema, service=SERVICE)
    pool = open_pool(access.dsn, access.schema, name="dr", max_size=1)
    await store.start()
    await pool.open()
    try:
        yield Desk(store, pool, Locations(file))
    finally:
        await pool.close()
        await store.stop()
        postgres.drop(access)


def _submitted(plan: str, body: PlanBody = PLAN_BODY) -> DrPlanSubmitted:
    return DrPlanSubmitted(request_id=new_id(), plan_id=plan, body=body, evidence=EVIDENCE)


def _changed(plan: str, seen: int, body: PlanBody = PLAN_BODY) -> DrPlanChangeSubmitted:
    return DrPlanChangeSubmitted(request_id=new_id(), plan_id=plan, body=body, evidence=EVIDENCE, expected_version=seen)


async def test_plan_is_created_changed_and_refused_with_every_field(desk: Desk) -> None:
    """By its owner as well: what the gateway saw may have changed since, or the gateway be another build's."""
    await desk.hear(_submitted("plan-1"))
    (created,) = await desk.told("plan-1")
    assert isinstance(created, DrPlanCreated)
    assert (created.version, created.body) == (1, PLAN_BODY)
    calmer = msgspec.structs.replace(PLAN_BODY, is_wedding_critical=False)
    await desk.hear(_changed("plan-1", 1, calmer))
    updated = (await desk.told("plan-1"))[-1]
    assert isinstance(updated, DrPlanUpdated)
    assert (updated.version, updated.body) == (2, calmer)
    stale = _changed("plan-1", 1)
    await desk.hear(stale)
    refused = (await desk.told("plan-1"))[-1]
    assert isinstance(refused, DrPlanChangeRefused)
    assert (refused.code, refused.request_id) == (errors.VERSION_CONFLICT.code, stale.request_id)

    wrong = msgspec.structs.replace(PLAN_BODY, automated_execution=True)
    await desk.hear(_submitted("plan-2", wrong), OTHER_STUDIO)
    (refusal,) = await desk.told("plan-2")
    assert isinstance(refusal, DrPlanRefused)
    # The other studio has no such target.
    assert [each.field for each in refusal.wrong] == ["automatedExecution", "procedures[1].targetLocation"]
    await desk.hear(_changed("plan-2", 0), OTHER_STUDIO)
    assert isinstance((await desk.told("plan-2"))[-1], DrPlanRefused), "what was refused is no plan"


async def test_plan_of_another_organisation_is_none(desk: Desk) -> None:
    await desk.hear(_submitted("plan-1"))
    foreign = _changed("plan-1", 1)
    await desk.hear(foreign, OTHER_STUDIO)
    (answer,) = await desk.told(foreign.request_id)
    assert isinstance(answer, DrPlanChangeRefused)
    assert answer.code == errors.DR_PLAN_UNKNOWN.code
    assert len(await desk.told("plan-1")) == 1


async def test_of_two_changes_at_once_one_is_in_force_and_a_delivery_again_changes_nothing(desk: Desk) -> None:
    """Also of a request whose answer was recorded before its process was killed."""
    created, event_id = _submitted("plan-1"), new_id()
    await desk.hear(created, event_id=event_id)
    with suppress(Exception):  # the bus takes it for handled
        await desk.hear(created, event_id=event_id)
    await asyncio.gather(*(desk.hear(_changed("plan-1", 1)) for _ in range(4)))
    told = await desk.told("plan-1")
    assert [type(event) for event in told].count(DrPlanUpdated) == 1
    assert [type(event) for event in told].count(DrPlanChangeRefused) == 3
    assert [type(event) for event in told].count(DrPlanCreated) == 1
