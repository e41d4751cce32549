"""Executions and tests of plans over a real record: killed between any two records, and cleaned up whatever happens."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.ids import new_id
from contracts import errors
from contracts.config_events import NotificationDelivered, NotificationGivenUp
from contracts.disaster import PlanBody, PlanStep, StepKind
from contracts.dr_events import DrPlanUpdated
from contracts.dr_execution_events import (
    DrExecutionAborted,
    DrExecutionCompleted,
    DrExecutionFailed,
    DrExecutionPauseRefused,
    DrExecutionRefused,
    DrExecutionStarted,
    DrNoticeAsked,
    DrRecoveryAsked,
    DrRecoveryOver,
    DrStepBegun,
    DrStepEnded,
    DrTestCleanedUp,
    DrTestRefused,
    DrTestStarted,
)
from contracts.errors import PlatformError
from contracts.gateway_events import (
    DrExecutionAbortionRequested,
    DrExecutionPauseRequested,
    DrExecutionRequested,
    DrExecutionResumptionRequested,
    DrPlanChangeSubmitted,
    DrStepApprovalRequested,
    DrTestRequested,
    Evidence,
)
from contracts.recovery_events import TARGET_PATH_FIELD, RecoveryCancelled
from contracts.sample_values import PLAN_BODY
from contracts.samples import sample_event
from services.dr.adapters.executions import CLEAN_UP, STEP
from tests.support.disasters import OTHER, OTHER_STUDIO, PROVEN, STUDIO, Desk, restore, whole

pytestmark = pytest.mark.stack


async def _go_through(desk: Desk, plan: str, kind: Any = DrExecutionRequested) -> str:
    execution = await desk.begin(plan, "photos", kind=kind)
    approval = DrStepApprovalRequested(request_id=new_id(), execution_id=execution, step_id="go", evidence=PROVEN)
    await desk.hear(approval, OTHER)
    await desk.completes(execution, "photos")
    await desk.fire(STEP)
    return execution


async def test_killed_between_any_two_records_an_execution_goes_on_and_does_each_step_once(desk: Desk) -> None:
    """Before each save, and after it, where nobody hears of it any more."""
    plan = await desk.plan(*whole(desk))
    execution = await _go_through(desk, plan)
    wanted = [type(event) for event in await desk.told(execution)]
    assert wanted.count(DrExecutionCompleted) == 1
    (asked,) = await desk.of(execution, DrRecoveryAsked)
    assert desk.sealer.open(STUDIO, TARGET_PATH_FIELD, asked.target_path) == "2027/meyer"
    (completed,) = await desk.of(execution, DrExecutionCompleted)
    assert completed.rto_seconds < 60
    saves = desk.killing.saves
    for at in range(2, saves + 1):  # the first is the plan
        for is_after in (False, True):
            desk.killing.saves, desk.killing.at, desk.killing.is_after = 1, at, is_after
            killed = await _go_through(desk, plan)
            assert [type(event) for event in await desk.told(killed)] == wanted, (at, is_after)


async def test_one_execution_of_a_plan_goes_on_at_a_time_and_a_test_beside_it(desk: Desk) -> None:
    plan = await desk.plan(PlanStep(id="go", kind=StepKind.MANUAL, owner="owner"), restore(desk.sealer))
    first = await desk.begin(plan, "photos")
    second = await desk.begin(plan, "photos")
    (refused,) = await desk.of(second, DrExecutionRefused)
    assert refused.code == errors.DR_EXECUTION_OPEN.code
    tested = await desk.begin(plan, "photos", kind=DrTestRequested)
    assert await desk.of(tested, DrTestStarted)
    await desk.hear(DrExecutionAbortionRequested(request_id=new_id(), execution_id=first, evidence=PROVEN))
    (asked,) = await desk.of(first, DrRecoveryAsked)
    await desk.hear(msgspec.structs.replace(sample_event(RecoveryCancelled), operation_id=asked.operation_id))
    assert await desk.of(first, DrExecutionAborted)
    assert await desk.of(await desk.begin(plan, "photos"), DrExecutionStarted)


async def test_plan_that_is_changed_meanwhile_changes_nothing_of_its_execution(desk: Desk) -> None:
    """It goes on by the steps that it began with, its end too; the next one is of the plan as it stands."""
    plan = await desk.plan(PlanStep(id="go", kind=StepKind.MANUAL, owner="owner"), restore(desk.sealer, after=("go",)))
    execution = await desk.begin(plan, "photos")
    body: PlanBody = msgspec.structs.replace(
        PLAN_BODY, procedures=(PlanStep(id="else", kind=StepKind.MANUAL, owner="owner"), restore(desk.sealer, "films"))
    )
    change = DrPlanChangeSubmitted(request_id=new_id(), plan_id=plan, body=body, expected_version=1, evidence=PROVEN)
    await desk.hear(change)
    assert isinstance((await desk.told(plan))[-1], DrPlanUpdated)
    approval = DrStepApprovalRequested(request_id=new_id(), execution_id=execution, step_id="go", evidence=PROVEN)
    await desk.hear(approval)
    await desk.completes(execution, "photos")
    assert {each.step_id for each in await desk.of(execution, DrStepEnded)} == {"go", "photos"}
    assert await desk.of(execution, DrExecutionCompleted)
    (refused,) = await desk.of(await desk.begin(plan, "photos"), DrExecutionRefused)
    assert refused.code == errors.VERSION_CONFLICT.code


async def test_paused_execution_goes_on_where_it_is_resumed_and_another_organisation_s_is_none(desk: Desk) -> None:
    steps = (PlanStep(id="go", kind=StepKind.MANUAL, owner="owner"), restore(desk.sealer, after=("go",)))
    execution = await desk.begin(await desk.plan(*steps), "photos")
    pause = DrExecutionPauseRequested(request_id=new_id(), execution_id=execution, evidence=PROVEN)
    await desk.hear(pause, organisation=OTHER_STUDIO)
    (refused,) = await desk.told(pause.request_id)
    assert isinstance(refused, DrExecutionPauseRefused)
    assert refused.code == errors.DR_EXECUTION_UNKNOWN.code
    await desk.hear(pause)
    approval = DrStepApprovalRequested(request_id=new_id(), execution_id=execution, step_id="go", evidence=PROVEN)
    await desk.hear(approval)
    assert not await desk.of(execution, DrRecoveryAsked)
    await desk.hear(DrExecutionResumptionRequested(request_id=new_id(), execution_id=execution, evidence=PROVEN))
    assert len(await desk.of(execution, DrRecoveryAsked)) == 1


async def test_step_ends_by_what_becomes_of_its_notification(desk: Desk) -> None:
    channel = PlanStep(id="tell", kind=StepKind.NOTIFY, owner="owner", channel_ids=(new_id(),))
    execution = await desk.begin(await desk.plan(channel, restore(desk.sealer)), "photos")
    (asked,) = await desk.of(execution, DrNoticeAsked)
    told = msgspec.structs.replace(
        sample_event(NotificationDelivered), notification_id=asked.notices[0].notification_id
    )
    await desk.hear(told, organisation=OTHER_STUDIO)
    await desk.hear(msgspec.structs.replace(told, notification_id=new_id()))
    assert not await desk.of(execution, DrStepEnded)
    await desk.hear(told)
    await desk.hear(msgspec.structs.replace(sample_event(NotificationGivenUp), notification_id=told.notification_id))
    (ended,) = await desk.of(execution, DrStepEnded)
    assert (ended.step_id, ended.code) == ("tell", None)


async def test_what_can_never_be_executed_is_refused_and_toldwhole(desk: Desk) -> None:
    plan = await desk.plan(restore(desk.sealer), restore(desk.sealer, "contracts"))
    (refused,) = await desk.of(await desk.begin(plan, evidence=Evidence(assurance="aal1")), DrExecutionRefused)
    assert [each.code for each in refused.wrong] == [errors.RECOVERY_POINT_UNKNOWN.code] * 2
    foreign = await desk.begin(plan, "photos", organisation=OTHER_STUDIO)
    (refused,) = await desk.of(foreign, DrExecutionRefused)
    assert refused.code == errors.DR_PLAN_UNKNOWN.code
    there = await desk.plan(restore(desk.sealer))
    (refused,) = await desk.of(
        await desk.begin(there, "photos", evidence=Evidence(assurance="aal1")), DrExecutionRefused
    )
    assert refused.code == errors.SECOND_FACTOR_NEEDED.code


def _restored(folder: Path) -> Path:
    """What a test's recovery leaves: also what its owner may not write to."""
    folder.mkdir(parents=True)
    (folder / "photo.raw").write_bytes(b"photo")
    (folder / "closed").mkdir()
    (folder / "closed" / "in").write_bytes(b"1")
    (folder / "closed").chmod(0o500)
    return folder


async def test_test_goes_to_a_place_of_its_own_and_is_cleaned_up_whatever_becomes_of_it(desk: Desk) -> None:
    """Completed and aborted, killed before and after; and nothing beside its own folder is touched."""
    plan = await desk.plan(*whole(desk))
    beside = _restored(desk.tests_at / "dr-tests" / "another")
    for ends in ("completed", "aborted"):
        tested = await desk.begin(plan, "photos", kind=DrTestRequested)
        (started,) = await desk.of(tested, DrTestStarted)
        (target,) = started.targets
        path = desk.sealer.open(STUDIO, TARGET_PATH_FIELD, target.path)
        assert (target.location, path) == ("rehearsals", f"dr-tests/{tested}/photos")
        approval = DrStepApprovalRequested(request_id=new_id(), execution_id=tested, step_id="go", evidence=PROVEN)
        await desk.hear(approval, OTHER)
        (asked,) = await desk.of(tested, DrRecoveryAsked)
        assert (asked.target_location, asked.is_test) == ("rehearsals", True)
        at = _restored(desk.tests_at / path)
        if ends == "completed":
            await desk.completes(tested, "photos")
            await desk.fire(STEP)
        else:
            await desk.hear(DrExecutionAbortionRequested(request_id=new_id(), execution_id=tested, evidence=PROVEN))
            await desk.hear(msgspec.structs.replace(sample_event(RecoveryCancelled), operation_id=asked.operation_id))
        assert at.exists()
        assert not await desk.of(tested, DrTestCleanedUp)
        desk.killing.saves, desk.killing.at, desk.killing.is_after = 0, 1, ends == "aborted"
        await desk.fire(CLEAN_UP)
        assert not (desk.tests_at / "dr-tests" / tested).exists()
        assert len(await desk.of(tested, DrTestCleanedUp)) == 1
        assert len(await desk.of(tested, DrStepBegun)) == len(await desk.of(tested, DrStepEnded))
    assert (beside / "closed" / "in").exists()


async def test_test_whose_restore_timed_out_is_cleaned_up_once_that_has_ended(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore that was withdrawn may still come and write: until its end is told, nothing is called cleaned up."""
    monkeypatch.setattr("services.dr.executing.state.CLEAN_UP_SECONDS", 0.0)
    tested = await desk.begin(await desk.plan(restore(desk.sealer)), "photos", kind=DrTestRequested)
    (asked,) = await desk.of(tested, DrRecoveryAsked)
    await desk.fire(STEP)
    assert len(await desk.of(tested, DrExecutionFailed)) == 1
    at = _restored(desk.tests_at / "dr-tests" / tested / "photos")
    with pytest.raises(PlatformError) as kept:
        await desk.fire(CLEAN_UP)
    assert (kept.value.code, "photos" in kept.value.hint) == (errors.DR_TEST_NOT_CLEANED, True)
    assert at.exists()
    assert not await desk.of(tested, DrTestCleanedUp)
    ended = msgspec.structs.replace(sample_event(RecoveryCancelled), operation_id=asked.operation_id)
    for _ in range(2):
        await desk.hear(ended)
    await desk.fire(CLEAN_UP)
    assert not at.exists()
    assert len(await desk.of(tested, DrTestCleanedUp)) == 1
    assert len(await desk.of(tested, DrRecoveryOver)) == 1


async def test_test_is_refused_where_no_place_is_its_own_or_the_plan_restores_there(desk: Desk) -> None:
    elsewhere = await desk.plan(msgspec.structs.replace(restore(desk.sealer), target_location="rehearsals"))
    (refused,) = await desk.of(await desk.begin(elsewhere, "photos", kind=DrTestRequested), DrTestRefused)
    assert refused.code == errors.DR_TEST_NOT_ISOLATED.code
    plan = await desk.plan(restore(desk.sealer))
    desk.tests_at.rmdir()
    (refused,) = await desk.of(await desk.begin(plan, "photos", kind=DrTestRequested), DrTestRefused)
    assert (refused.code, refused.field) == (errors.DR_TEST_PLACE_MISSING.code, "planId")


async def test_what_keeps_its_owner_from_removing_it_is_opened_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for who is not root, as this test may be."""
    closed = _restored(desk.tests_at / "dr-tests" / "execution-1") / "closed"
    modes: list[int] = []
    monkeypatch.setattr(shutil, "rmtree", lambda _: modes.append(closed.stat().st_mode & 0o777))
    await desk.places.remove(STUDIO, "execution-1", "rehearsals")
    assert modes == [0o700]


@pytest.mark.parametrize("spoil", ["link", "gone"])
async def test_clean_up_follows_no_link_and_says_what_it_cannot_know(desk: Desk, spoil: str, tmp_path: Path) -> None:
    """What a link leads to is another's; of a disk that is not there nobody knows what is on it."""
    precious = _restored(tmp_path / "precious" / "execution-1")
    spoiling: dict[str, Callable[[], object]] = {
        "link": lambda: os.symlink(precious.parent, desk.tests_at / "dr-tests"),
        "gone": lambda: desk.tests_at.rmdir(),
    }
    spoiling[spoil]()
    with pytest.raises(PlatformError) as why:
        await desk.places.remove(STUDIO, "execution-1", "rehearsals")
    assert why.value.code is errors.DR_TEST_NOT_CLEANED
    assert (precious / "photo.raw").exists()
