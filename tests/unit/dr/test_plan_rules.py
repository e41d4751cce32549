"""What speaks against a disaster recovery plan: each rule, every field at once, in both places that look."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from contracts import errors
from contracts.disaster import (
    BackupSource,
    PlanBody,
    PlanScope,
    PlanStep,
    RecoveryObjectives,
    StepKind,
)
from contracts.disaster_rules import plan_objections
from contracts.dr_events import DrPlanCreated, DrPlanUpdated
from contracts.errors import PlatformError
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted, Evidence
from contracts.reading import decoder_of, read_json
from contracts.refusal import Objected, Objection
from contracts.sample_values import CONFIGURATION, PLAN_BODY
from services.dr.domain import Found, Plan
from services.dr.policies import when_plan_submitted

EVIDENCE = Evidence(assurance="aal1")
APPROVE, RESTORE, CHECK = PLAN_BODY.procedures


def _told(*steps: PlanStep, **changes: Any) -> dict[str | None, str]:
    body = msgspec.structs.replace(PLAN_BODY, procedures=steps or PLAN_BODY.procedures, **changes)
    return {each.field: each.code.code for each in plan_objections(body, body.procedures)}


def _step(step: PlanStep, **changes: Any) -> PlanStep:
    return msgspec.structs.replace(step, **changes)


def _wait(name: str, minutes: int, *after: str) -> PlanStep:
    return PlanStep(
        id=name, kind=StepKind.WAIT, owner="on-call", after=after, wait_minutes=minutes, time_limit_minutes=1000
    )


def test_usual_plan_has_nothing_against_it() -> None:
    assert _told() == {}


@pytest.mark.parametrize(
    ("step", "fields"),
    [
        (_step(RESTORE, configuration_id=None), {"procedures[1].configurationId", "scope.configurationIds[0]"}),
        (_step(RESTORE, target_location=None), {"procedures[1].targetLocation"}),
        (_step(RESTORE, configuration_id="another"), {"procedures[1].configurationId", "scope.configurationIds[0]"}),
        (_step(RESTORE, id="go"), {"procedures[1].id", "procedures[1].after[0]", "procedures[2].after[0]",
                                   "procedures[2].ofStep"}),
        (_step(RESTORE, after=("photos", "nothing")), {"procedures[1].after[0]", "procedures[1].after[1]"}),
        (_step(RESTORE, compensates="go"), {"procedures[1].compensates", "procedures[1].after",
                                                 "procedures[2].after[0]"}),
        (_step(APPROVE, id="photos", retries=1), {"procedures[1].retries", "procedures[2].ofStep",
                                                  "scope.configurationIds[0]"}),
        (_step(RESTORE, wait_minutes=5), {"procedures[1].waitMinutes"}),
        (_step(RESTORE, of_step="go", channel_ids=("c",)), {"procedures[1].ofStep", "procedures[1].channelIds"}),
    ],
    ids=[*("no configuration", "no target", "outside the scope", "name taken", "waits for itself"),
         *("a manual one's", "a restore's", "a wait's", "others'")],
)  # fmt: skip
def test_step_that_can_never_succeed_is_told_by_its_field(step: PlanStep, fields: set[str]) -> None:
    assert set(_told(APPROVE, step, CHECK)) == fields


def test_point_and_moment_are_one_too_many() -> None:
    one = _step(RESTORE, recovery_point_id="point")
    assert _told(APPROVE, one, CHECK) == {}
    both = _step(one, moment=datetime(2026, 1, 1, tzinfo=UTC))
    assert set(_told(APPROVE, both, CHECK)) == {"procedures[1].moment"}


def test_check_looks_at_a_restore_that_has_ended() -> None:
    """Also by way of others; never at what may still go on, or at what restores nothing."""
    between = PlanStep(id="look", kind=StepKind.MANUAL, owner="on-call", after=("photos",))
    assert _told(APPROVE, RESTORE, between, _step(CHECK, after=("look",))) == {}
    for wrong in (_step(CHECK, after=("go",)), _step(CHECK, of_step="go"), _step(CHECK, of_step="nothing")):
        assert set(_told(APPROVE, RESTORE, wrong)) == {"procedures[2].ofStep"}


def test_circle_is_told_once_and_by_the_names_in_it() -> None:
    circle = _step(APPROVE, after=("whole",))
    assert _told(circle, RESTORE, CHECK) == {"procedures[0].after": errors.DR_PLAN_CIRCLE.code}
    (objection,) = plan_objections(PLAN_BODY, (circle, RESTORE, CHECK))
    assert "go waits for itself by way of whole" in objection.hint


def test_waits_in_a_row_are_shorter_than_the_rto_and_than_their_own_limits() -> None:
    """Waits beside each other do not add up."""
    waits = (_wait("one", 120), _wait("two", 120, "one"))
    assert set(_told(APPROVE, RESTORE, CHECK, *waits)) == {"recoveryObjectives.rtoMinutes"}
    assert _told(APPROVE, RESTORE, CHECK, _wait("one", 120), _wait("two", 120)) == {}
    assert set(_told(APPROVE, RESTORE, CHECK, _step(waits[0], time_limit_minutes=120))) == {
        "procedures[3].timeLimitMinutes"
    }
    slow = RecoveryObjectives(rto_minutes=241, rpo_minutes=1)
    assert _told(APPROVE, RESTORE, CHECK, *waits, recovery_objectives=slow) == {}


def test_what_is_outside_the_scope_or_twice_or_by_itself_is_told_with_all_else() -> None:
    told = _told(
        scope=PlanScope(configuration_ids=(CONFIGURATION, "unrestored")),
        backup_sources=(
            BackupSource(configuration_id="another"),
            BackupSource(configuration_id=CONFIGURATION),
            BackupSource(configuration_id=CONFIGURATION),
        ),
        automated_execution=True,
    )
    assert list(told) == [
        "scope.configurationIds[1]",
        "backupSources[0].configurationId",
        "backupSources[2].configurationId",
        "automatedExecution",
    ]


def test_kind_of_a_newer_build_is_not_guessed() -> None:
    told = msgspec.json.encode(PLAN_BODY).replace(b'"approve"', b'"teleport"')
    newer = read_json(told, decoder_of(PlanBody))
    assert newer.procedures[0].kind == "unknown"
    objections = {each.field: each.code.code for each in plan_objections(newer, newer.procedures)}
    assert objections == {"procedures[0].kind": errors.EVENT_UNREADABLE.code}


def test_target_that_is_not_open_is_told_by_the_owner_too() -> None:
    (told,) = when_plan_submitted(PLAN_BODY, ["restored"])
    assert (told.code, told.field) == (errors.UNKNOWN_LOCATION, "procedures[1].targetLocation")
    assert list(when_plan_submitted(PLAN_BODY, ["another"])) == []


def test_plan_is_created_and_changed_as_it_was_seen() -> None:
    """A version each; another one in force, an objection, or none there, and nothing is recorded."""
    plan = Plan("plan-1")
    created = DrPlanSubmitted(request_id="r1", plan_id="plan-1", body=PLAN_BODY, evidence=EVIDENCE)
    objection = Objection(errors.UNKNOWN_LOCATION, "procedures[1].targetLocation", "")
    with pytest.raises(Objected):
        plan.create(created, Found([objection]))
    change = DrPlanChangeSubmitted(
        request_id="r2", plan_id="plan-1", body=PLAN_BODY, evidence=EVIDENCE, expected_version=1
    )
    with pytest.raises(PlatformError) as refused:
        plan.change(change, Found())
    assert refused.value.code is errors.DR_PLAN_UNKNOWN
    plan.create(created, Found())
    with pytest.raises(PlatformError) as refused:
        plan.change(msgspec.structs.replace(change, expected_version=2), Found())
    assert (refused.value.code, refused.value.field) == (errors.VERSION_CONFLICT, "If-Match")
    with pytest.raises(Objected):
        plan.change(change, Found([objection]))
    plan.change(change, Found())
    assert [(type(event), getattr(event, "version", 0)) for event in plan.pending] == [
        (DrPlanCreated, 1),
        (DrPlanUpdated, 2),
    ]


def test_step_that_undoes_another_waits_for_none_and_none_for_it() -> None:
    undo = PlanStep(id="undo", kind=StepKind.MANUAL, owner="on-call", compensates="photos")
    assert _told(APPROVE, RESTORE, CHECK, undo) == {}
    for wrong, fields in (
        ((_step(undo, after=("go",)),), {"procedures[3].after"}),
        ((_step(undo, compensates="nothing"),), {"procedures[3].compensates"}),
        ((_step(undo, compensates="undo"),), {"procedures[3].compensates"}),
        ((undo, _wait("later", 1, "undo")), {"procedures[4].after[0]"}),
    ):
        assert set(_told(APPROVE, RESTORE, CHECK, *wrong)) == fields
