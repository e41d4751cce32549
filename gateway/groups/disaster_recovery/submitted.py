"""Plans as they are sent: what one says, and every field that is wrong."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from chassis.calendar.rehearsals import objections_to_tests
from contracts import errors
from contracts.configuration_rules import path_objection
from contracts.disaster import PlanRules, StepKind, StepRules
from contracts.disaster_rules import plan_objections
from contracts.errors import ErrorCode, PlatformError
from gateway.groups.disaster_recovery.resources import NewPlan, NewStep
from gateway.http.problems import error_of_code
from gateway.http.texts import unreadable, wrong_texts
from gateway.projections.applied import Database
from gateway.writes.declaration import Means
from gateway.writes.things import CHANNEL, CONFIGURATION, Thing


def rules_of(data: NewPlan) -> PlanRules:
    """What a plan that is sent says, without its texts and steps."""
    said: dict[str, Any] = {name: getattr(data, name) for name in PlanRules.__struct_fields__}
    return PlanRules(**said)


def step_rules_of(data: NewStep) -> dict[str, Any]:
    """What a step that is sent says, without its texts."""
    return {name: getattr(data, name) for name in StepRules.__struct_fields__}


def path_as_kept(path: str) -> str:
    """A path below a location in one spelling; empty for the location itself."""
    normal = os.path.normpath(path) if path else ""
    return "" if normal == "." else normal


async def wrong_fields(data: NewPlan, gateway: Means, organisation: str) -> list[PlatformError]:
    """All that speaks against a plan. Raises LOCATIONS_UNREADABLE."""
    wrong = list(wrong_texts(("planName", data.plan_name)))
    for place, step in enumerate(data.procedures):
        wrong += _wrong_texts_of(f"procedures[{place}].", step)
    steps = [StepRules(**step_rules_of(step)) for step in data.procedures]
    for each in plan_objections(rules_of(data), steps):
        wrong.append(error_of_code(each.code.code, field=each.field, hint=each.hint))
    for each in objections_to_tests(data.testing_schedule, gateway.clock.now()):
        wrong.append(error_of_code(each.code.code, field=each.field, hint=each.hint))
    named = {step.target_location for step in steps if step.target_location is not None}
    closed = await gateway.locations.not_open([(name, "target") for name in sorted(named)], organisation)
    hint = "GET /api/backup/locations tells those with the role target; an operator registers one."
    for place, planned in enumerate(steps):
        if planned.target_location in closed:
            field = f"procedures[{place}].targetLocation"
            message = "no target location of this name is open to the organisation"
            wrong.append(PlatformError(errors.UNKNOWN_LOCATION, message, field=field, hint=hint))
    async with gateway.reading(organisation) as database:
        wrong += [each async for each in _missing(database, organisation, data)]
    return wrong


def _wrong_texts_of(at: str, step: NewStep) -> Iterator[PlatformError]:
    yield from unreadable(f"{at}instructions", step.instructions)
    if step.kind is not StepKind.RESTORE:
        if step.target_path:
            hint = "Leave it out: only steps of the kind restore have it."
            yield PlatformError(errors.INVALID_FIELD, "no target", field=f"{at}targetPath", hint=hint)
        return
    yield from unreadable(f"{at}targetPath", step.target_path)
    if (objection := path_objection(step.target_path, f"{at}targetPath")) is not None:
        yield error_of_code(objection.code.code, field=objection.field, hint=objection.hint)


_POINT = "SELECT configuration_id FROM recovery_points WHERE organisation = %s AND recovery_point_id = %s"


async def _missing(database: Database, organisation: str, data: NewPlan) -> AsyncIterator[PlatformError]:
    """What is named and is not the organisation's, by the read models."""
    channels: list[tuple[str, Sequence[str]]] = [
        ("notifications.channelIds", data.notifications.channel_ids),
        *((f"procedures[{at}].channelIds", step.channel_ids) for at, step in enumerate(data.procedures)),
    ]
    for number, each in enumerate(data.scope.configuration_ids):
        if await _is_missing(database, organisation, CONFIGURATION, each):
            yield _unknown(errors.CONFIGURATION_UNKNOWN, f"scope.configurationIds[{number}]")
    for field, ids in channels:
        for number, each in enumerate(ids):
            if await _is_missing(database, organisation, CHANNEL, each):
                yield _unknown(errors.CHANNEL_UNKNOWN, f"{field}[{number}]")
    for at, step in enumerate(data.procedures):
        if step.recovery_point_id is None:
            continue
        row = await (await database.execute(_POINT, (organisation, step.recovery_point_id))).fetchone()
        if row is None:
            yield _unknown(errors.RECOVERY_POINT_UNKNOWN, f"procedures[{at}].recoveryPointId")
        elif row[0] != step.configuration_id:
            field, hint = f"procedures[{at}].recoveryPointId", "Name a recovery point of the step's configuration."
            yield PlatformError(errors.INVALID_FIELD, "it is another configuration's", field=field, hint=hint)


async def _is_missing(database: Database, organisation: str, thing: Thing, identity: str) -> bool:
    try:
        await thing.check(database, organisation, identity)
    except PlatformError as error:
        if error.code is not thing.missing:
            raise
        return True
    return False


def _unknown(code: ErrorCode, field: str) -> PlatformError:
    return PlatformError(code, "there is nothing of this id", field=field)
