"""Holds as resources. Sealed texts are opened here, for people of the organisation, and nowhere else."""

from collections.abc import Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.clock import Clock
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.holds import HOLD_MATTER_FIELD, HOLD_REASON_FIELD
from gateway.groups.holds.resources import Hold, HoldState
from gateway.http.resources import ListPage
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of
from gateway.runs.held import placed

_SELECT: LiteralString = """
    SELECT h.hold_id, h.version, h.state, coalesce(q.actor, h.placed_by), h.placed_at, h.approval_id, h.released_at,
        h.fact::text
    FROM retention_holds h LEFT JOIN requests q ON q.request_id = h.request_id
    WHERE h.organisation = %s
"""


class HoldFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which holds a list shows."""

    state: HoldState | None = None


class HoldQueries:
    """Reads holds and opens what is sealed in them."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    async def one(self, reading: Reading, organisation: str, hold_id: str) -> Hold:
        """A hold. Raises HOLD_UNKNOWN, also where it is another organisation's."""
        query = _SELECT + " AND h.hold_id = %s"
        async with reading(organisation) as database:
            row = await (await database.execute(query, (organisation, hold_id))).fetchone()
        if row is None:
            raise PlatformError(errors.HOLD_UNKNOWN, "there is no such hold")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: HoldFilter, *, limit: int, cursor: str | None
    ) -> ListPage[Hold]:
        """A page of holds, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _SELECT,
            [(" AND h.state = %s", wanted.state)],
            partial(self._all_told, organisation),
            key=("h.placed_at", "h.hold_id"),
            place=lambda each: Place(each.placed_at, each.id),
            cursors=Cursors(self._sealer, organisation, "retention-holds", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[Hold]:
        """Beside the event loop: what opens their texts lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, *row) for row in rows])

    def _told(self, organisation: str, hold_id: str, *row: Any) -> Hold:
        version, state, placed_by, placed_at, approval_id, released_at, stored = row
        fact = placed(stored)
        fields, scope = OpenedFields(self._sealer, organisation), fact.body.scope
        reason = fields.text(HOLD_REASON_FIELD, fact.body.reason, "reason")
        matter = fields.text(HOLD_MATTER_FIELD, fact.body.matter, "matter")
        return Hold(
            id=hold_id,
            version=version,
            state=HoldState(state),
            reason=reason,
            matter=matter,
            review_at=fact.body.review_at,
            is_review_due=self._clock.now() >= fact.body.review_at and state == HoldState.PLACED,
            configuration_ids=list(scope.configuration_ids),
            recovery_point_ids=list(scope.recovery_point_ids),
            tags=list(scope.tags),
            made_from=scope.made_from,
            made_before=scope.made_before,
            kept=fact.kept,
            too_late=fact.too_late,
            too_late_points=list(fact.too_late_points),
            placed_by=placed_by,
            placed_at=placed_at,
            approval_id=approval_id,
            released_at=released_at,
            unreadable_fields=fields.unreadable,
        )
