"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.disaster_recovery.examples import (
    EXECUTION,
    EXECUTIONS,
    PLAN,
    PLAN_TEMPLATES,
    PLANS,
    RUNBOOK,
    STATUS,
)
from gateway.groups.disaster_recovery.resources import (
    DisasterRecoveryExecution,
    DisasterRecoveryPlan,
    PlanStatus,
    PlanTemplate,
    Runbook,
)
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

_GROUP = "Disaster recovery"
_KEYS = (errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE)

OPERATIONS = {
    "list_disaster_recovery_plans": Operation(
        group=_GROUP,
        answers=(
            Answer(status=200, description="A page", body=ListPage[DisasterRecoveryPlan], examples={"one": PLANS}),
        ),
        errors=(errors.INVALID_CURSOR, *_KEYS),
    ),
    "list_disaster_recovery_templates": Operation(
        group=_GROUP,
        answers=(
            Answer(
                status=200,
                description="The templates",
                body=ListPage[PlanTemplate],
                examples={"all": PLAN_TEMPLATES},
            ),
        ),
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
    "show_disaster_recovery_plan": Operation(
        group=_GROUP,
        answers=(Answer(status=200, description="The plan", body=DisasterRecoveryPlan, examples={"disks": PLAN}),),
        errors=(errors.DR_PLAN_UNKNOWN, *_KEYS),
    ),
    "list_disaster_recovery_executions": Operation(
        group=_GROUP,
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[DisasterRecoveryExecution],
                examples={"one": EXECUTIONS},
            ),
        ),
        errors=(errors.INVALID_CURSOR, *_KEYS),
    ),
    "show_disaster_recovery_execution": Operation(
        group=_GROUP,
        answers=(
            Answer(
                status=200,
                description="The execution",
                body=DisasterRecoveryExecution,
                examples={"recovering": EXECUTION},
            ),
        ),
        errors=(errors.DR_EXECUTION_UNKNOWN,),
    ),
    "show_disaster_recovery_status": Operation(
        group=_GROUP,
        answers=(Answer(status=200, description="A page", body=ListPage[PlanStatus], examples={"one": STATUS}),),
        errors=(errors.INVALID_CURSOR, errors.LOCATIONS_UNREADABLE, *_KEYS),
    ),
    "show_disaster_recovery_runbook": Operation(
        group=_GROUP,
        answers=(Answer(status=200, description="The runbook", body=Runbook, examples={"disks": RUNBOOK}),),
        errors=(errors.DR_PLAN_UNKNOWN, *_KEYS),
    ),
}
