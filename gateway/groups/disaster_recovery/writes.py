"""The writes of the group."""

from typing import ClassVar

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from contracts import dr_events as facts
from contracts import dr_execution_events as executed
from contracts import errors
from contracts import gateway_events as requests
from contracts.disaster import (
    INSTRUCTIONS_FIELD,
    PLAN_NAME_FIELD,
    STEP_PATH_FIELD,
    PlanBody,
    PlanRules,
    PlanStep,
    StepKind,
)
from contracts.disaster_rules import execution_objections
from contracts.errors import ErrorCode
from contracts.event import Event
from contracts.refusal import Refusal
from contracts.sealed import Sealed
from gateway.auth.rights import Right
from gateway.groups.disaster_recovery import examples
from gateway.groups.disaster_recovery.chosen import plan_as_it_is, points_of
from gateway.groups.disaster_recovery.queries import PlanQueries
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryPlan,
    NewPlan,
    NewPlanExecution,
    NewStep,
    NewStepApproval,
)
from gateway.groups.disaster_recovery.submitted import path_as_kept, rules_of, step_rules_of, wrong_fields
from gateway.http.problems import error_of_code
from gateway.http.texts import kept
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import DR_EXECUTION, DR_PLAN


class CreateDisasterRecoveryPlan(Write[NewPlan]):
    """Say what is brought back after a disaster, how fast, and by which steps.

    What can never succeed is refused, every wrong field at once: steps in a circle, a configuration that nothing
    restores, waits longer than the RTO, a target that is not open to the organisation.
    """

    NAME = "create-disaster-recovery-plan"
    SUMMARY = "Create a disaster recovery plan"
    PATH = "/disaster-recovery/plans"
    RIGHT = Right.PLAN_DISASTER_RECOVERY
    BODY = NewPlan
    EXAMPLE = ("disks", examples.NEW_PLAN)
    REQUEST: ClassVar[type[Event]] = requests.DrPlanSubmitted
    ACCEPTED: ClassVar[type[Event]] = facts.DrPlanCreated
    REFUSED: ClassVar[type[Refusal]] = facts.DrPlanRefused
    OF = DR_PLAN
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = (
        errors.DR_PLAN_CIRCLE,
        errors.SCHEDULE_NEVER_DUE,
        errors.CONFIGURATION_UNKNOWN,
        errors.CHANNEL_UNKNOWN,
        errors.RECOVERY_POINT_UNKNOWN,
        errors.UNKNOWN_LOCATION,
        errors.LOCATIONS_UNREADABLE,
        errors.PATH_OUTSIDE_LOCATION,
        errors.EVENT_UNREADABLE,
    )
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="Created",
            body=DisasterRecoveryPlan,
            examples={"created": examples.PLAN},
            headers={**LOCATION, **ETAG},
        ),
    )

    async def draft(self, asked: Asked[NewPlan]) -> Draft:
        """Every field that is wrong, and the rest as it is kept."""
        if self.is_targeted:
            async with asked.gateway.reading(asked.organisation) as database:
                await self.OF.check(database, asked.organisation, asked.target)
        data = msgspec.structs.replace(
            asked.body,
            plan_name=kept(asked.body.plan_name),
            procedures=tuple(_as_kept(step) for step in asked.body.procedures),
        )
        sealer, organisation = asked.gateway.sealer, asked.organisation

        def sealed(field: str, text: str) -> Sealed | None:
            return sealer.seal(organisation, field, text) if text else None

        def body() -> PlanBody:
            rules = rules_of(data)
            steps = tuple(
                PlanStep(
                    **step_rules_of(step),
                    instructions=sealed(INSTRUCTIONS_FIELD, step.instructions),
                    target_path=sealer.seal(organisation, STEP_PATH_FIELD, step.target_path)
                    if step.kind is StepKind.RESTORE
                    else None,
                )
                for step in data.procedures
            )
            return PlanBody(
                **{name: getattr(rules, name) for name in PlanRules.__struct_fields__},
                name=sealer.seal(organisation, PLAN_NAME_FIELD, data.plan_name),
                procedures=steps,
            )

        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                plan_id=new.resource_id,
                body=body(),
                evidence=new.evidence,
                **asked.expected,
            ),
            body=data,
            wrong=await wrong_fields(asked.body, asked.gateway, asked.organisation),
        )

    async def shown(self, asked: Asked[NewPlan], resource_id: str) -> Response[DisasterRecoveryPlan] | Superseded:
        """The plan as it is in force, if that is what was accepted: the version after what was seen."""
        queries = PlanQueries(asked.gateway.sealer)
        made = await queries.one(asked.gateway.reading, asked.organisation, resource_id)
        return self.in_force(asked, made)


class UpdateDisasterRecoveryPlan(CreateDisasterRecoveryPlan):
    """Have a plan say what is sent, all of it.

    `If-Match` is the ETag of what was read; another version in force is answered with 412.
    """

    NAME = "update-disaster-recovery-plan"
    SUMMARY = "Change a disaster recovery plan"
    METHOD = "PUT"
    PATH = "/disaster-recovery/plans/{plan_id:str}"
    IF_MATCH = True
    EXAMPLE = ("critical", msgspec.structs.replace(examples.NEW_PLAN, is_wedding_critical=False))
    REQUEST, ACCEPTED, REFUSED = requests.DrPlanChangeSubmitted, facts.DrPlanUpdated, facts.DrPlanChangeRefused
    ANSWERS = (
        Answer(
            status=HTTP_200_OK,
            description="Changed",
            body=DisasterRecoveryPlan,
            examples={"changed": msgspec.structs.replace(examples.PLAN, version=2, is_wedding_critical=False)},
            headers={**LOCATION, **ETAG},
        ),
    )


class ExecuteDisasterRecoveryPlan(Write[NewPlanExecution]):
    """Execute a plan as it is in force: its restores write to their targets, each from the recovery point chosen now.

    Each step is recorded before it begins and after it ends; what was killed goes on where it was. A step `approve`
    waits for a second owner, `manual` for whoever does it. One execution of a plan at a time. A plan with a step that
    the platform cannot execute is refused, and so is one of whose configurations there is no point.
    """

    NAME = "execute-disaster-recovery-plan"
    SUMMARY = "Execute a disaster recovery plan"
    PATH = "/disaster-recovery/execute"
    RIGHT = Right.FAIL_OVER
    SECOND_FACTOR = True
    BODY = NewPlanExecution
    EXAMPLE = ("disks", examples.NEW_EXECUTION)
    REQUEST: ClassVar[type[Event]] = requests.DrExecutionRequested
    ACCEPTED: ClassVar[type[Event]] = executed.DrExecutionStarted
    REFUSED: ClassVar[type[Refusal]] = executed.DrExecutionRefused
    OF = DR_EXECUTION
    MAKES = True
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = (
        errors.DR_PLAN_UNKNOWN,
        errors.VERSION_CONFLICT,
        errors.DR_EXECUTION_OPEN,
        errors.DR_STEP_NOT_EXECUTABLE,
        errors.RECOVERY_POINT_UNKNOWN,
        errors.UNKNOWN_LOCATION,
        errors.DR_TEST_PLACE_MISSING,
        errors.DR_TEST_NOT_ISOLATED,
        errors.LOCATIONS_UNREADABLE,
    )

    async def draft(self, asked: Asked[NewPlanExecution]) -> Draft:
        """The plan as it is in force, and the points that its restores take."""
        async with asked.gateway.reading(asked.organisation) as database:
            version, body = await plan_as_it_is(database, asked.organisation, asked.body.plan_id)
            points = tuple(await points_of(database, asked.organisation, body))
        against = execution_objections(body.procedures, {each.step_id for each in points})
        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                execution_id=new.resource_id,
                plan_id=asked.body.plan_id,
                plan_version=version,
                points=points,
                evidence=new.evidence,
            ),
            wrong=[error_of_code(each.code.code, field=each.field, hint=each.hint) for each in against],
        )


class TestDisasterRecoveryPlan(ExecuteDisasterRecoveryPlan):
    """Test a plan: the same steps, with restores to a place of the test's own, which is emptied afterwards.

    No target of the plan is written to. The place is a location that an operator has named
    (`WEDSYNC_DR_TEST_LOCATIONS`).
    """

    __test__ = False  # no test of ours

    NAME = "test-disaster-recovery-plan"
    SUMMARY = "Test a disaster recovery plan"
    PATH = "/disaster-recovery/test"
    RIGHT = Right.REHEARSE
    SECOND_FACTOR = False
    REQUEST, ACCEPTED, REFUSED = requests.DrTestRequested, executed.DrTestStarted, executed.DrTestRefused
    REFUSALS = (errors.SECOND_FACTOR_NEEDED, *ExecuteDisasterRecoveryPlan.REFUSALS)


class ApproveDisasterRecoveryStep(Write[NewStepApproval]):
    """Say that an execution may go on (a step `approve`), or that a step `manual` is done.

    An approval takes another owner than the one who began the execution, and a second factor of the last fifteen
    minutes (`second-person-needed`, `second-factor-needed`).
    """

    NAME = "approve-disaster-recovery-step"
    SUMMARY = "Approve a step of an execution"
    PATH = "/disaster-recovery/executions/{execution_id:str}/approve"
    RIGHT = Right.APPROVE
    BODY = NewStepApproval
    EXAMPLE = ("go", examples.NEW_STEP_APPROVAL)
    REQUEST, ACCEPTED, REFUSED = (
        requests.DrStepApprovalRequested,
        executed.DrStepApproved,
        executed.DrStepApprovalRefused,
    )
    OF = DR_EXECUTION
    REFUSALS = (
        errors.DR_EXECUTION_OVER,
        errors.DR_STEP_NOT_WAITING,
        errors.SECOND_PERSON_NEEDED,
        errors.SECOND_FACTOR_NEEDED,
    )

    async def draft(self, asked: Asked[NewStepApproval]) -> Draft:
        """Of an execution that is there; its owner knows where its steps are."""
        async with asked.gateway.reading(asked.organisation) as database:
            await self.OF.check(database, asked.organisation, asked.target)
        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                execution_id=new.resource_id,
                step_id=asked.body.step_id,
                evidence=new.evidence,
            )
        )


class PauseDisasterRecoveryExecution(Write[None]):
    """Have no other step of an execution begin until it is resumed. What has begun goes on, and its time with it."""

    NAME = "pause-disaster-recovery-execution"
    SUMMARY = "Pause an execution"
    PATH = "/disaster-recovery/executions/{execution_id:str}/pause"
    RIGHT = Right.FAIL_OVER
    REQUEST, ACCEPTED, REFUSED = (
        requests.DrExecutionPauseRequested,
        executed.DrExecutionPaused,
        executed.DrExecutionPauseRefused,
    )
    OF = DR_EXECUTION
    REFUSALS = (errors.DR_EXECUTION_OVER, errors.DR_EXECUTION_PAUSED)


class ResumeDisasterRecoveryExecution(Write[None]):
    """Have a paused execution go on."""

    NAME = "resume-disaster-recovery-execution"
    SUMMARY = "Resume an execution"
    PATH = "/disaster-recovery/executions/{execution_id:str}/resume"
    RIGHT = Right.FAIL_OVER
    REQUEST, ACCEPTED, REFUSED = (
        requests.DrExecutionResumptionRequested,
        executed.DrExecutionResumed,
        executed.DrExecutionResumptionRefused,
    )
    OF = DR_EXECUTION
    REFUSALS = (errors.DR_EXECUTION_OVER, errors.DR_EXECUTION_NOT_PAUSED)


class AbortDisasterRecoveryExecution(Write[None]):
    """Have an execution or a test end: no other step begins, recoveries that go on are withdrawn.

    What is restored stays, that of a test is removed.
    """

    NAME = "abort-disaster-recovery-execution"
    SUMMARY = "Abort an execution"
    PATH = "/disaster-recovery/executions/{execution_id:str}/abort"
    RIGHT = Right.FAIL_OVER
    REQUEST, ACCEPTED, REFUSED = (
        requests.DrExecutionAbortionRequested,
        executed.DrExecutionAborting,
        executed.DrExecutionAbortionRefused,
    )
    OF = DR_EXECUTION
    REFUSALS = (errors.DR_EXECUTION_OVER,)


def _as_kept(step: NewStep) -> NewStep:
    return msgspec.structs.replace(
        step, instructions=kept(step.instructions), target_path=path_as_kept(step.target_path)
    )
