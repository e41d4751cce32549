"""Which recovery point each restore of a plan takes, by what there is now.

One that a validation found damaged, and of which no tier is known to have it whole, is passed over for the next older
one; a point that a step names is taken as it is named. The dr service asks for them where a test begins by itself.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from chassis.telemetry.logging import describe
from contracts import errors
from contracts.choosing import ASK_POINTS, PointsAnswer, asked_of, encoded
from contracts.disaster import PlanBody, SourcePreference, StepKind, StepPoint, StepRules
from contracts.errors import PlatformError
from gateway.groups.disaster_recovery.projection import plan_body
from gateway.projections.applied import Database
from gateway.reading.slices import Reading
from gateway.runs.proven import HARMED

_PLAN: LiteralString = "SELECT version, body::text FROM dr_plans WHERE organisation = %s AND plan_id = %s"
_POINT: LiteralString = """
    SELECT recovery_point_id, completed_at - make_interval(secs => coalesce((fact->>'seconds')::float8, 0))
    FROM recovery_points p
    WHERE organisation = %(organisation)s AND configuration_id = %(configuration)s AND gone_at IS NULL
"""
QUEUE = "gateways"
"""One of them answers."""
_log = logging.getLogger(__name__)
_NOT_HARMED: LiteralString = f" AND NOT {HARMED}"
_LATEST: LiteralString = " ORDER BY completed_at DESC, recovery_point_id DESC LIMIT 1"
# Of which at least one tier was read back, and whose source was read whole.
_PROVEN: LiteralString = """
    AND coalesce(json_array_length(fact->'verified'), 0) > 0
    AND coalesce((fact->'totals'->>'unreadableFiles')::bigint, 0) = 0
"""


async def plan_as_it_is(database: Database, organisation: str, plan_id: str) -> tuple[int, PlanBody]:
    """A plan's version and body. Raises DR_PLAN_UNKNOWN."""
    row = await (await database.execute(_PLAN, (organisation, plan_id))).fetchone()
    if row is None:
        raise PlatformError(errors.DR_PLAN_UNKNOWN, "there is no such disaster recovery plan", field="planId")
    return row[0], plan_body(row[1])


async def points_of(database: Database, organisation: str, body: PlanBody) -> list[StepPoint]:
    """For each restore of a plan the point that it takes; none where there is none."""
    prefers = {each.configuration_id: each.prefer for each in body.backup_sources}
    found = []
    for step in body.procedures:
        if step.kind is not StepKind.RESTORE:
            continue
        row = await _point(database, organisation, step, prefers)
        if row is not None:
            found.append(StepPoint(step_id=step.id, recovery_point_id=row[0], read_at=row[1]))
    return found


async def _point(
    database: Database, organisation: str, step: StepRules, prefers: Mapping[str, SourcePreference]
) -> tuple[str, datetime] | None:
    query = _POINT
    given: dict[str, Any] = {"organisation": organisation, "configuration": step.configuration_id}
    if step.recovery_point_id is not None:
        query += " AND recovery_point_id = %(point)s"
        given["point"] = step.recovery_point_id
    elif step.moment is not None:
        query += _NOT_HARMED + " AND completed_at <= %(moment)s"
        given["moment"] = step.moment
    elif prefers.get(step.configuration_id or "", SourcePreference.FRESHEST) is not SourcePreference.FRESHEST:
        query += _NOT_HARMED + _PROVEN
    else:
        query += _NOT_HARMED
    row = await (await database.execute(query + _LATEST, given)).fetchone()
    return None if row is None else (row[0], row[1])


class PointAnswers:
    """A part of the gateway (see `chassis.life.runtime`): says which points the test of a plan takes.

    Questions are answered one after the other; who gets no answer asks again.
    """

    name = "points"

    def __init__(self, client: Callable[[], Client], reading: Reading) -> None:
        self._client = client
        self._reading = reading
        self._heard: Subscription | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._heard = await self._client().subscribe(ASK_POINTS, queue=QUEUE, cb=self._hear)

    async def stop(self) -> None:
        """Hear nothing more, so that another gateway is asked."""
        if self._heard is not None:
            with suppress(NatsError):
                await self._heard.unsubscribe()

    async def check(self) -> PlatformError | str | None:
        """It answers as long as the gateway has its connections, which tell that themselves."""
        return None

    async def _hear(self, message: Msg) -> None:
        await message.respond(encoded(await self.answer(message.data)))

    async def answer(self, body: bytes) -> PointsAnswer:
        """What a plan's test takes, or why nobody could look."""
        try:
            asked = asked_of(body)
            async with self._reading(asked.organisation) as database:
                return PointsAnswer(points=tuple(await points_of(database, asked.organisation, asked.body)))
        except msgspec.DecodeError:
            return PointsAnswer(code=errors.EVENT_UNREADABLE.code)
        except PlatformError as error:
            return PointsAnswer(code=error.code.code)
        except Exception as error:  # noqa: BLE001  # whoever asked is told, whatever it was
            _log.error("points could not be chosen", extra={"cause": describe(error)})
            return PointsAnswer(code=errors.INTERNAL.code)
