"""Disaster recovery plans as resources. Sealed texts are opened here alone, for people of the organisation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.locations import Locations
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import SourceType
from contracts.disaster import INSTRUCTIONS_FIELD, PLAN_NAME_FIELD, STEP_PATH_FIELD, PlanRules, PlanStep, StepRules
from contracts.errors import PlatformError
from gateway.groups.disaster_recovery.projection import MissedTest, missed_test, plan_body
from gateway.groups.disaster_recovery.resources import DisasterRecoveryPlan, MissedPlanTest, PlannedStep
from gateway.groups.disaster_recovery.templates import Has
from gateway.http.resources import ListPage
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of
from gateway.runs.queries import hint_told, title_of

_SELECT: LiteralString = """
    SELECT p.plan_id, p.version, coalesce(q.actor, p.created_by), p.created_at, p.changed_at, p.body::text,
        p.next_test, p.missed_test::text
    FROM dr_plans p LEFT JOIN requests q ON q.request_id = p.request_id
    WHERE p.organisation = %s
"""


_ACTIVE: LiteralString = """
    SELECT c.configuration_id, c.body->>'sourceType' FROM configurations c
    WHERE c.organisation = %s AND c.state = 'active'
    ORDER BY c.is_wedding_critical DESC, c.created_at, c.configuration_id
"""
_CHANNELS: LiteralString = """
    SELECT channel_id FROM notification_channels WHERE organisation = %s AND state = 'active'
    ORDER BY created_at, channel_id LIMIT 5
"""


async def what_there_is(reading: Reading, locations: Locations, organisation: str) -> Has:
    """What a template of a plan may name. Raises LOCATIONS_UNREADABLE."""
    targets = [each.name for each in await locations.offered_to(organisation) if "target" in each.roles]
    async with reading(organisation) as database:
        found = await (await database.execute(_ACTIVE, (organisation,))).fetchall()
        channels = await (await database.execute(_CHANNELS, (organisation,))).fetchall()
    directories = [identity for identity, kind in found if kind == SourceType.DIRECTORY.value]
    return Has(directories, len(found) - len(directories), targets, [channel for (channel,) in channels])


class _All(msgspec.Struct, frozen=True):
    """No list of plans is narrowed."""


class PlanQueries:
    """Reads plans and opens their texts."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def one(self, reading: Reading, organisation: str, plan_id: str) -> DisasterRecoveryPlan:
        """A plan. Raises DR_PLAN_UNKNOWN, also where it is another organisation's."""
        async with reading(organisation) as database:
            found = await database.execute(_SELECT + " AND p.plan_id = %s", (organisation, plan_id))
            row = await found.fetchone()
        if row is None:
            raise PlatformError(errors.DR_PLAN_UNKNOWN, "there is no such disaster recovery plan")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, *, limit: int, cursor: str | None
    ) -> ListPage[DisasterRecoveryPlan]:
        """A page of plans, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _SELECT,
            [],
            partial(self._all_told, organisation),
            key=("p.created_at", "p.plan_id"),
            place=lambda each: Place(each.created_at, each.id),
            cursors=Cursors(self._sealer, organisation, "dr-plans", _All()),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[DisasterRecoveryPlan]:
        """Plans of rows, beside the event loop: what opens their texts lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, row) for row in rows])

    def _told(self, organisation: str, row: tuple[Any, ...]) -> DisasterRecoveryPlan:
        plan_id, version, created_by, created_at, changed_at, stored, next_test, missed = row
        body = plan_body(stored)
        fields = OpenedFields(self._sealer, organisation)
        said: dict[str, Any] = {name: getattr(body, name) for name in PlanRules.__struct_fields__}
        return DisasterRecoveryPlan(
            id=plan_id,
            version=version,
            plan_name=fields.text(PLAN_NAME_FIELD, body.name, "planName"),
            procedures=[_step(fields, place, step) for place, step in enumerate(body.procedures)],
            **said | {"backup_sources": list(body.backup_sources)},
            created_by=created_by,
            created_at=created_at,
            changed_at=changed_at,
            next_test_at=next_test,
            last_missed_test=None if missed is None else _missed(missed_test(missed)),
            unreadable_fields=fields.unreadable,
        )


def _missed(view: MissedTest) -> MissedPlanTest:
    hint = hint_told(view.code, view.hint) or ""
    return MissedPlanTest(due_at=view.due_at, code=view.code, title=title_of(view.code), hint=hint)


def _step(fields: OpenedFields, place: int, step: PlanStep) -> PlannedStep:
    said: dict[str, Any] = {name: getattr(step, name) for name in StepRules.__struct_fields__}
    at = f"procedures[{place}]."
    return PlannedStep(
        **said | {"after": list(step.after), "channel_ids": list(step.channel_ids)},
        instructions=fields.text(INSTRUCTIONS_FIELD, step.instructions, f"{at}instructions"),
        target_path=fields.text(STEP_PATH_FIELD, step.target_path, f"{at}targetPath"),
    )
