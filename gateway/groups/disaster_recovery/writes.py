"""The writes of the group."""

from typing import ClassVar

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from contracts import dr_events as facts
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
from contracts.errors import ErrorCode
from contracts.event import Event
from contracts.refusal import Refusal
from contracts.sealed import Sealed
from gateway.auth.rights import Right
from gateway.groups.disaster_recovery import examples
from gateway.groups.disaster_recovery.queries import PlanQueries
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, NewPlan, NewStep
from gateway.groups.disaster_recovery.submitted import path_as_kept, rules_of, step_rules_of, wrong_fields
from gateway.http.texts import kept
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import DR_PLAN


class CreateDisasterRecoveryPlan(Write[NewPlan]):
    """Say what is brought back after a disaster, how fast, and by which steps. Nothing begins or tests it yet.

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


def _as_kept(step: NewStep) -> NewStep:
    return msgspec.structs.replace(
        step, instructions=kept(step.instructions), target_path=path_as_kept(step.target_path)
    )
