"""An execution of a plan goes from step to step by what it hears, and says what it did: nothing is passed over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from contracts import errors
from contracts.disaster import PlanBody, PlanNotifications, PlanStep, StepKind, StepOutcome, StepPoint, StepTarget
from contracts.disaster_rules import execution_objections
from contracts.dr_execution_events import (
    DrExecutionAborted,
    DrExecutionCompleted,
    DrExecutionFailed,
    DrNoticeAsked,
    DrRecoveryAsked,
    DrRecoveryWithdrawn,
    DrStepBegun,
    DrStepEnded,
)
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import (
    DrBeginningRequest,
    DrExecutionAbortionRequested,
    DrExecutionPauseRequested,
    DrExecutionRequested,
    DrExecutionResumptionRequested,
    DrStepApprovalRequested,
    DrTestRequested,
    Evidence,
)
from contracts.reading import decoder_of, read_json
from contracts.sample_values import CONFIGURATION, PLAN_BODY, sealed
from services.dr.executing.domain import Execution

_NEWER = b'{"id": "tell", "kind": "promote", "owner": "on-call"}'
NOW = datetime(2026, 6, 13, 10, 0, tzinfo=UTC)
OWNER, OTHER = "user:first", "user:second"
PROVEN = Evidence(assurance="aal2", roles=("owner",), second_factor=True)
ALONE = Evidence(assurance="aal1", roles=("owner",))


def _step(name: str, kind: StepKind, **of: Any) -> PlanStep:
    return PlanStep(id=name, kind=kind, owner="on-call", **of)


def _restore(name: str, **of: Any) -> PlanStep:
    return _step(name, StepKind.RESTORE, configuration_id=CONFIGURATION, target_location="restored", **of)


def _body(*steps: PlanStep) -> PlanBody:
    return msgspec.structs.replace(PLAN_BODY, procedures=steps)


def _begun(
    *steps: PlanStep,
    place: str = "restored",
    kind: type[DrBeginningRequest] = DrExecutionRequested,
    body: PlanBody | None = None,
) -> Execution:
    execution, body = Execution("execution-1"), _body(*steps) if body is None else body
    restores = [step.id for step in body.procedures if step.kind is StepKind.RESTORE]
    read_at = NOW - timedelta(minutes=21)
    request = kind(
        request_id="request-1",
        execution_id=execution.id,
        plan_id="plan-1",
        plan_version=1,
        points=tuple(StepPoint(step_id=each, recovery_point_id=f"point-{each}", read_at=read_at) for each in restores),
        evidence=PROVEN,
    )
    targets = [StepTarget(step_id=each, location=place, path=sealed(1)) for each in restores]
    execution.begin(request, body, targets, started_by=OWNER, started_at=NOW, now=NOW)
    return execution


def _later(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def _whole(execution: Execution, step: str, minutes: float, *, code: str | None = None) -> None:
    operation = execution.steps[step].operation_id or ""
    execution.recovery_ended(operation, is_whole=True, is_cancelled=False, code=code, hint="", now=_later(minutes))


def _lost(execution: Execution, step: str, minutes: float, *, is_cancelled: bool = False) -> None:
    operation = execution.steps[step].operation_id or ""
    execution.recovery_ended(
        operation, is_whole=False, is_cancelled=is_cancelled, code="target-full", hint="", now=_later(minutes)
    )


def _approved(execution: Execution, step: str, by: str = OTHER, evidence: Evidence = PROVEN) -> None:
    request = DrStepApprovalRequested(
        request_id="request-2", execution_id=execution.id, step_id=step, evidence=evidence
    )
    execution.approve(request, by, _later(1))


def _of(execution: Execution, kind: type[Event]) -> list[Any]:
    return [event for event in execution.pending if type(event) is kind]


def test_plan_goes_from_step_to_step_and_says_when_it_worked_again_and_what_is_missing() -> None:
    """Each step is recorded before and after; the time counts until the last that matters, not until a script ends."""
    execution = _begun(
        _step("go", StepKind.APPROVE),
        _restore("photos", after=("go",)),
        _restore("contracts", after=("go",)),
        _step("whole", StepKind.CHECK, after=("photos", "contracts"), of_step="photos"),
        _step("settle", StepKind.WAIT, after=("whole",), wait_minutes=2),
    )
    assert [event.step_id for event in _of(execution, DrStepBegun)] == ["go"]
    assert not _of(execution, DrRecoveryAsked), "nothing is written before somebody else has agreed"
    _approved(execution, "go")
    assert [event.step_id for event in _of(execution, DrRecoveryAsked)] == ["photos", "contracts"], "beside each other"
    first = _of(execution, DrRecoveryAsked)[0]
    assert (first.recovery_point_id, first.target_location, first.is_test) == ("point-photos", "restored", False)
    assert first.operation_id == execution.steps["photos"].operation_id
    _whole(execution, "photos", 5)
    before = len(execution.pending)
    _lost(execution, "photos", 6)
    assert len(execution.pending) == before, "what has ended is not ended again"
    assert "settle" not in [event.step_id for event in _of(execution, DrStepBegun)]
    _whole(execution, "contracts", 7)
    execution.due("settle", 1, _later(9))
    (completed,) = _of(execution, DrExecutionCompleted)
    assert completed.rto_seconds == 9 * 60
    assert [(each.configuration_id, each.lost_seconds) for each in completed.losses] == [(CONFIGURATION, 21 * 60)]
    begun = [(event.step_id, event.attempt) for event in _of(execution, DrStepBegun)]
    ended = [(event.step_id, event.attempt) for event in _of(execution, DrStepEnded)]
    assert sorted(begun) == sorted(ended)
    _whole(execution, "photos", 20)
    assert execution.pending[-1] is completed, "what is told again changes nothing"


def test_step_is_tried_again_as_often_as_the_plan_says_and_then_fails_the_execution() -> None:
    """What goes on beside it has its end; nothing else begins, and what comes of an attempt that is over is nothing."""
    execution = _begun(
        _restore("photos", retries=1), _restore("contracts"), _step("done", StepKind.MANUAL, after=("contracts",))
    )
    old = execution.steps["photos"].operation_id or ""
    _lost(execution, "photos", 1)
    assert _of(execution, DrStepEnded)[-1].next_attempt_at == _later(2)
    execution.due("photos", 1, _later(2))
    assert (execution.steps["photos"].attempt, len(_of(execution, DrRecoveryAsked))) == (2, 3)
    assert execution.steps["photos"].operation_id != old
    execution.recovery_ended(old, is_whole=True, is_cancelled=False, code=None, hint="", now=_later(3))
    assert execution.steps["photos"].is_under_way, "an attempt that is over does not end the next"
    execution.due("photos", 2, _later(62))
    assert _of(execution, DrStepEnded)[-1].outcome is StepOutcome.TIMED_OUT
    assert _of(execution, DrRecoveryWithdrawn)[-1].operation_id == execution.steps["photos"].operation_id
    assert not execution.is_over, "the other restore goes on"
    _whole(execution, "contracts", 70)
    (failed,) = _of(execution, DrExecutionFailed)
    assert (failed.step_id, failed.code) == ("photos", errors.DR_STEP_TIMED_OUT.code)
    assert execution.steps["done"].attempt == 0
    with pytest.raises(PlatformError) as over:
        _approved(execution, "done")
    assert over.value.code is errors.DR_EXECUTION_OVER


@pytest.mark.parametrize("code", [None, "recovery-incomplete"])
def test_check_fails_where_what_was_restored_is_less_than_it_was(code: str | None) -> None:
    execution = _begun(_restore("photos"), _step("whole", StepKind.CHECK, after=("photos",), of_step="photos"))
    _whole(execution, "photos", 1, code=code)
    failed = _of(execution, DrExecutionFailed)
    assert [(each.step_id, each.code) for each in failed] == ([("whole", errors.DR_CHECK_FAILED.code)] if code else [])
    assert bool(_of(execution, DrExecutionCompleted)) is (code is None)


def test_second_person_with_a_second_factor_approves_and_whoever_began_it_does_not() -> None:
    execution = _begun(_step("go", StepKind.APPROVE), _step("by-hand", StepKind.MANUAL, after=("go",)))
    for step, by, evidence, code in (
        ("go", OWNER, PROVEN, errors.SECOND_PERSON_NEEDED),
        ("go", "", PROVEN, errors.SECOND_PERSON_NEEDED),
        ("go", OTHER, ALONE, errors.SECOND_FACTOR_NEEDED),
        ("by-hand", OTHER, PROVEN, errors.DR_STEP_NOT_WAITING),
        ("nothing", OTHER, PROVEN, errors.DR_STEP_NOT_WAITING),
    ):
        before = len(execution.pending)
        with pytest.raises(PlatformError) as why:
            _approved(execution, step, by, evidence)
        assert (why.value.code, len(execution.pending)) == (code, before)
    _approved(execution, "go")
    _approved(execution, "by-hand", OWNER, ALONE)
    assert execution.is_over
    assert _of(execution, DrStepEnded)[0].by == OTHER


def test_execution_whose_approver_is_gone_fails_and_says_at_which_step_and_nothing_is_written() -> None:
    """It neither waits for ever nor goes on without the word; who comes too late is told so."""
    execution = _begun(_step("go", StepKind.APPROVE), _restore("photos", after=("go",)))
    execution.due("go", 1, _later(60))
    (failed,) = _of(execution, DrExecutionFailed)
    assert (failed.step_id, failed.code) == ("go", errors.DR_STEP_TIMED_OUT.code)
    assert not _of(execution, DrRecoveryAsked)
    with pytest.raises(PlatformError) as why:
        _approved(execution, "go")
    assert why.value.code is errors.DR_EXECUTION_OVER


def test_nothing_begins_while_it_is_paused_and_a_retry_is_made_up_for_afterwards() -> None:
    execution = _begun(_restore("photos", retries=2), _restore("contracts"), _restore("last", after=("contracts",)))
    pause = DrExecutionPauseRequested(request_id="request-3", execution_id=execution.id, evidence=PROVEN)
    execution.pause(pause, OWNER)
    _lost(execution, "photos", 1)
    execution.due("photos", 1, _later(2))
    _whole(execution, "contracts", 3)
    assert [event.step_id for event in _of(execution, DrStepBegun)] == ["photos", "contracts"]
    with pytest.raises(PlatformError) as why:
        execution.pause(pause, OWNER)
    assert why.value.code is errors.DR_EXECUTION_PAUSED
    resume = DrExecutionResumptionRequested(request_id="request-4", execution_id=execution.id, evidence=PROVEN)
    execution.resume(resume, OWNER, _later(4))
    assert [event.step_id for event in _of(execution, DrStepBegun)][2:] == ["photos", "last"]
    with pytest.raises(PlatformError) as why:
        execution.resume(resume, OWNER, _later(4))
    assert why.value.code is errors.DR_EXECUTION_NOT_PAUSED


def test_abortion_withdraws_what_goes_on_and_is_over_when_nothing_is_written_any_more() -> None:
    execution = _begun(_restore("photos"), _step("ask", StepKind.APPROVE))
    request = DrExecutionAbortionRequested(request_id="request-5", execution_id=execution.id, evidence=PROVEN)
    execution.abort(request, OWNER, _later(1))
    (withdrawn,) = _of(execution, DrRecoveryWithdrawn)
    assert withdrawn.operation_id == execution.steps["photos"].operation_id
    assert withdrawn.request_id != withdrawn.operation_id
    assert [event.outcome for event in _of(execution, DrStepEnded)] == [StepOutcome.WITHDRAWN]
    assert not execution.is_over
    _lost(execution, "photos", 2, is_cancelled=True)
    assert _of(execution, DrExecutionAborted)
    with pytest.raises(PlatformError) as why:
        execution.abort(request, OWNER, _later(3))
    assert why.value.code is errors.DR_EXECUTION_OVER


def test_aborted_execution_ends_by_its_step_s_time_where_no_answer_ever_comes() -> None:
    execution = _begun(_restore("photos"))
    request = DrExecutionAbortionRequested(request_id="request-5", execution_id=execution.id, evidence=PROVEN)
    execution.abort(request, OWNER, _later(1))
    execution.due("photos", 1, _later(60))
    assert _of(execution, DrExecutionAborted)


def test_test_names_no_target_of_its_plan_where_a_step_becomes_a_request() -> None:
    """Whatever was decided before: the one place that names a target refuses it."""
    tested = _begun(_restore("photos"), place="rehearsals", kind=DrTestRequested)
    (asked,) = _of(tested, DrRecoveryAsked)
    assert (asked.target_location, asked.is_test) == ("rehearsals", True)
    strayed = _begun(_restore("photos", retries=1), place="restored", kind=DrTestRequested)
    assert not _of(strayed, DrRecoveryAsked)
    assert _of(strayed, DrStepEnded)[0].code == errors.DR_TEST_NOT_ISOLATED.code


def test_plan_is_not_executed_where_one_step_cannot_be_and_none_is_left_out() -> None:
    tell = _step("tell", StepKind.NOTIFY, channel_ids=("channel",))
    assert not list(execution_objections((_restore("photos"), tell), {"photos"}))
    newer = decoder_of(PlanStep)
    steps = (_restore("photos"), _restore("contracts"), read_json(_NEWER, newer))
    found = list(execution_objections(steps, {"photos"}))
    assert [(each.code, each.field) for each in found] == [
        (errors.RECOVERY_POINT_UNKNOWN, "planId"),
        (errors.DR_STEP_NOT_EXECUTABLE, "planId"),
    ]
    assert "contracts" in found[0].hint
    assert "tell" in found[1].hint


def test_history_replays_to_the_same_execution() -> None:
    execution = _begun(_restore("photos", retries=1), _step("ask", StepKind.APPROVE, after=("photos",)))
    _lost(execution, "photos", 1)
    execution.due("photos", 1, _later(2))
    _whole(execution, "photos", 5)
    again = Execution(execution.id)
    for event in execution.pending:
        again.advance(event)
    assert (again.steps, again.version) == (execution.steps, execution.version)


@pytest.mark.parametrize("ends", ["failed", "aborted", "paused and aborted"])
def test_what_has_begun_is_undone_the_last_first_where_it_fails_or_is_aborted(ends: str) -> None:
    """Also what was only begun; never where all went well, and what fails to be undone ends it and says so."""
    undo = [_step(f"undo-{each}", StepKind.MANUAL, compensates=each) for each in ("photos", "contracts", "never")]
    steps = [
        _restore("photos"),
        _restore("contracts", after=("photos",)),
        _step("never", StepKind.MANUAL, after=("contracts",)),
        *undo,
    ]
    execution = _begun(*steps)
    _whole(execution, "photos", 1)
    if ends == "paused and aborted":
        pause = DrExecutionPauseRequested(request_id="request-4", execution_id=execution.id, evidence=PROVEN)
        execution.pause(pause, OWNER)
    if ends != "failed":
        request = DrExecutionAbortionRequested(request_id="request-5", execution_id=execution.id, evidence=PROVEN)
        execution.abort(request, OWNER, _later(2))
    _lost(execution, "contracts", 3, is_cancelled=ends != "failed")
    running = [run.step.id for run in execution.steps.values() if run.is_under_way]
    assert running == ["undo-contracts"]
    _approved(execution, "undo-contracts", OWNER)
    again = Execution(execution.id)
    for event in execution.pending:
        again.advance(event)
    _approved(execution, "undo-photos", OWNER)
    assert execution.steps["undo-never"].attempt == 0
    assert type(execution.pending[-1]) is (DrExecutionFailed if ends == "failed" else DrExecutionAborted)
    again.due("undo-photos", 1, _later(90))
    (failed,) = _of(again, DrExecutionFailed)
    assert (failed.step_id, failed.code) == ("undo-photos", errors.DR_COMPENSATION_FAILED.code)


def test_nothing_is_undone_where_all_went_well() -> None:
    execution = _begun(_restore("photos"), _step("undo", StepKind.MANUAL, compensates="photos"))
    _whole(execution, "photos", 1)
    assert type(execution.pending[-1]) is DrExecutionCompleted
    assert execution.steps["undo"].attempt == 0


def test_step_tells_its_channels_and_waits_for_none_that_nobody_hears_by() -> None:
    """It ends when all have it; where one is given up the step says so, and what comes after it goes on."""
    tell = _step("tell", StepKind.NOTIFY, channel_ids=("one", "other"))
    for is_lost in (False, True):
        execution = _begun(tell, _restore("photos", after=("tell",)))
        (asked,) = _of(execution, DrNoticeAsked)
        first, second = (each.notification_id for each in asked.notices)
        assert (first != second, [each.channel_id for each in asked.notices]) == (True, ["one", "other"])
        execution.notice_ended(first, code=None, hint="", now=_later(1))
        execution.notice_ended(first, code=None, hint="", now=_later(1))
        assert execution.steps["photos"].attempt == 0
        execution.notice_ended(second, code="receiver-gone" if is_lost else None, hint="", now=_later(2))
        ended = _of(execution, DrStepEnded)[0]
        assert ended.outcome is (StepOutcome.FAILED if is_lost else StepOutcome.COMPLETED)
        assert ended.code == ("receiver-gone" if is_lost else None)
        _whole(execution, "photos", 5)
        (completed,) = _of(execution, DrExecutionCompleted)
        assert completed.rto_seconds == 5 * 60


@pytest.mark.parametrize("kind", [DrExecutionRequested, DrTestRequested])
def test_channels_of_a_plan_are_told_where_it_fails_and_in_a_test_as_well(kind: type[DrBeginningRequest]) -> None:
    """Once each, before the end, with the step and why. The end waits for none; one that is whole is silent."""
    body = msgspec.structs.replace(
        _body(_restore("photos")), notifications=PlanNotifications(channel_ids=("one", "other", "one"))
    )
    failing, whole = (_begun(body=body, place="rehearsals", kind=kind) for _ in range(2))
    _lost(failing, "photos", 1)
    asked, failed = failing.pending[-2:]
    assert isinstance(asked, DrNoticeAsked)
    assert isinstance(failed, DrExecutionFailed)
    assert (asked.step_id, asked.code) == (failed.step_id, failed.code)
    assert [each.channel_id for each in asked.notices] == ["one", "other"]
    before = len(failing.pending)
    failing.notice_ended(asked.notices[0].notification_id, code="receiver-gone", hint="", now=_later(2))
    assert len(failing.pending) == before
    _whole(whole, "photos", 1)
    assert not _of(whole, DrNoticeAsked)


def test_time_of_a_notice_that_comes_last_counts_for_nothing_and_a_test_tells_nobody() -> None:
    tell = _step("tell", StepKind.NOTIFY, after=("photos",), channel_ids=("one",))
    execution = _begun(_restore("photos"), tell)
    _whole(execution, "photos", 5)
    execution.due("tell", 1, _later(65))
    (completed,) = _of(execution, DrExecutionCompleted)
    assert completed.rto_seconds == 5 * 60
    tested = _begun(_restore("photos"), tell, place="rehearsals", kind=DrTestRequested)
    _whole(tested, "photos", 5)
    assert not _of(tested, DrNoticeAsked)
    assert _of(tested, DrStepEnded)[-1].code == errors.DR_NOTICE_NOT_SENT.code
    assert _of(tested, DrExecutionCompleted)
