"""Tests that begin by a plan's schedule: once, whoever is killed; and where one cannot begin, that is told."""

from datetime import timedelta

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from chassis.clock import SystemClock
from chassis.ids import new_id
from contracts import errors
from contracts.disaster import PlanBody, PlanNotifications, TestingSchedule
from contracts.dr_events import DrNextTestChanged, DrPlanCreated, DrTestFellDue, DrTestMissed
from contracts.dr_execution_events import DrRecoveryAsked, DrTestStarted
from contracts.errors import PlatformError
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted, DrTestRequested
from contracts.sample_values import PLAN_BODY
from contracts.schedule import MissedRuns, Schedule
from services.dr.adapters.turns import LATER_SCHEMA, TEST, RecordedTurns
from tests.support.disasters import PROVEN, Desk, restore

pytestmark = pytest.mark.stack

CHANNEL = "0199a0f2-0000-7000-8000-0000000000c1"


async def _planned(desk: Desk, testing: TestingSchedule | None = None) -> str:
    body: PlanBody = msgspec.structs.replace(
        PLAN_BODY,
        procedures=(restore(desk.sealer),),
        testing_schedule=testing or TestingSchedule(every_days=30),
        notifications=PlanNotifications(channel_ids=(CHANNEL,)),
    )
    plan = new_id()
    await desk.hear(DrPlanSubmitted(request_id=new_id(), plan_id=plan, body=body, evidence=PROVEN))
    return plan


async def _came(desk: Desk, plan: str, *, ago: timedelta = timedelta()) -> None:
    """The instant that a plan waits for comes, and is looked at that late."""
    due = msgspec.json.encode(SystemClock().now() - ago)
    with psycopg.connect(desk.access.admin_dsn, autocommit=True) as connection:
        query = SQL("UPDATE {}.timers SET body = %s WHERE kind = %s AND name = %s")
        connection.execute(query.format(Identifier(desk.access.schema)), (due, TEST, plan))
    await desk.fire(TEST)


async def test_test_begins_by_itself_and_the_next_one_is_waited_for(desk: Desk) -> None:
    plan = await _planned(desk)
    (made,) = await desk.of(plan, DrPlanCreated)
    assert timedelta(days=29) < made.next_test_at - SystemClock().now() < timedelta(days=30)
    await _came(desk, plan)
    (fell_due,) = await desk.of(plan, DrTestFellDue)
    (started,) = await desk.of(fell_due.execution_id, DrTestStarted)
    assert (started.plan_id, started.started_by, started.second_factor) == (plan, f"schedule:{plan}", False)
    assert [each.location for each in started.targets] == ["rehearsals"]
    assert len(await desk.of(fell_due.execution_id, DrRecoveryAsked)) == 1
    assert fell_due.next_test_at - fell_due.due_at == timedelta(days=30)


async def test_killed_before_or_after_its_record_a_test_begins_once(desk: Desk) -> None:
    """The instant, the test and its first steps are one record: whoever is killed leaves all of it or nothing."""
    for is_after in (False, True):
        plan = await _planned(desk)
        desk.killing.saves, desk.killing.at, desk.killing.is_after = 0, 1, is_after
        await _came(desk, plan)
        desk.killing.at = -1
        await desk.fire(TEST)
        (fell_due,) = await desk.of(plan, DrTestFellDue)
        assert len(await desk.of(fell_due.execution_id, DrTestStarted)) == 1


async def test_replica_that_held_the_timer_for_too_long_records_nothing(desk: Desk) -> None:
    plan = await _planned(desk)
    with psycopg.connect(desk.access.admin_dsn, autocommit=True) as connection:
        query = SQL("UPDATE {}.timers SET due_at = now(), body = %s WHERE kind = %s")
        due = msgspec.json.encode(SystemClock().now())
        connection.execute(query.format(Identifier(desk.access.schema)), (due, TEST))
    slow = await desk.table.take([TEST])
    assert slow is not None
    await desk.fire(TEST)
    with pytest.raises(PlatformError):
        await desk.tests.turn(RecordedTurns.turn_of(slow))
    assert len(await desk.of(plan, DrTestFellDue)) == 1


async def test_test_that_cannot_begin_is_missed_and_the_plan_s_channels_are_told(desk: Desk) -> None:
    """Without a point, while another test of the plan goes on, and where its schedule lets it not be made up for."""
    skip = Schedule(cron="0 3 1 * *", missed_runs=MissedRuns.SKIP)
    plan = await _planned(desk, TestingSchedule(every_days=31, schedule=skip))
    await _came(desk, plan, ago=timedelta(hours=1))
    desk.choice.of = ()
    await _came(desk, plan)
    desk.choice.of = ("photos",)
    await desk.begin(plan, "photos", kind=DrTestRequested)
    await _came(desk, plan)
    missed = await desk.of(plan, DrTestMissed)
    assert [each.code for each in missed] == [
        each.code for each in (errors.DR_TEST_MISSED, errors.RECOVERY_POINT_UNKNOWN, errors.DR_EXECUTION_OPEN)
    ]
    assert all(each.hint and each.next_test_at > SystemClock().now() for each in missed)
    assert {notice.channel_id for each in missed for notice in each.notices} == {CHANNEL}
    assert len({notice.notification_id for each in missed for notice in each.notices}) == len(missed)
    assert not await desk.of(plan, DrTestFellDue)


async def test_test_waits_for_a_gateway_that_does_not_answer(desk: Desk) -> None:
    """Nothing is recorded meanwhile, and the timer tells of it; then it is made up for."""
    plan = await _planned(desk)
    desk.choice.of = None
    with pytest.raises(PlatformError, match="no gateway listens"):
        await _came(desk, plan)
    assert not await desk.of(plan, DrTestFellDue)
    desk.choice.of = ("photos",)
    await desk.fire(TEST)
    assert len(await desk.of(plan, DrTestFellDue)) == 1


async def test_plan_of_before_is_planned_once_and_one_without_a_schedule_waits_for_nothing(desk: Desk) -> None:
    plan = await _planned(desk)
    with psycopg.connect(
        desk.access.admin_dsn, autocommit=True, options=f"-csearch_path={desk.access.schema}"
    ) as admin:
        admin.execute("DELETE FROM timers")
        admin.execute(LATER_SCHEMA[0])
    await desk.fire(TEST)
    assert not await desk.of(plan, DrTestFellDue)
    assert not await desk.of(plan, DrNextTestChanged) or (await desk.of(plan, DrNextTestChanged))[0].next_test_at
    body: PlanBody = msgspec.structs.replace(PLAN_BODY, procedures=(restore(desk.sealer),), testing_schedule=None)
    change = DrPlanChangeSubmitted(request_id=new_id(), plan_id=plan, body=body, expected_version=1, evidence=PROVEN)
    await desk.hear(change)
    await desk.fire(TEST)
    assert not await desk.of(plan, DrTestFellDue)
