"""Erasures as resources. Who it is, is opened here, for people of the organisation, until the key is destroyed."""

from collections.abc import Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.clock import Clock
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import DATA_SUBJECT_FIELD
from contracts.erasure_events import NEAR, ErasureState, Obstacle, PrivacyLaw
from contracts.errors import PlatformError
from contracts.reading import read_plain
from gateway.groups.erasures.projection import NAME, VIEW
from gateway.groups.erasures.resources import Erasure, ErasureError, ErasureObstacle
from gateway.http.resources import ListPage
from gateway.projections.applied import Database, read_view
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of
from gateway.runs.queries import hint_told, title_of, waiting_told

_SELECT: LiteralString = """
    SELECT e.view::text, q.actor FROM subject_erasures e LEFT JOIN requests q USING (request_id)
    WHERE e.organisation = %s
"""


class ErasureFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which erasures a list shows."""

    state: tuple[ErasureState, ...] = ()


class ErasureQueries:
    """Reads erasures and opens what is sealed in them."""

    def __init__(self, sealer: Sealer, clock: Clock) -> None:
        self._sealer = sealer
        self._clock = clock

    async def one(self, reading: Reading, organisation: str, erasure_id: str) -> Erasure:
        """An erasure. Raises ERASURE_UNKNOWN, also where it is another organisation's."""
        async with reading(organisation) as database:
            row = await _found(database, organisation, erasure_id)
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: ErasureFilter, *, limit: int, cursor: str | None
    ) -> ListPage[Erasure]:
        """A page of erasures, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _SELECT,
            [(" AND e.state = ANY(%s)", [each.value for each in wanted.state] or None)],
            partial(self._all_told, organisation),
            key=("e.accepted_at", "e.erasure_id"),
            place=lambda each: Place(each.accepted_at, each.id),
            cursors=Cursors(self._sealer, organisation, NAME, wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[Erasure]:
        """Beside the event loop: what opens their texts lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, *row) for row in rows])

    def _told(self, organisation: str, stored: str, actor: str | None) -> Erasure:
        view, now = read_view(stored, VIEW, NAME), self._clock.now()
        fields, error = OpenedFields(self._sealer, organisation), view.error
        is_left = view.completed_at is None
        return Erasure(
            id=view.erasure_id,
            version=view.version,
            request_id=view.request_id,
            requested_by=actor or view.requested_by,
            data_subject=fields.text(DATA_SUBJECT_FIELD, view.data_subject, "dataSubject"),
            law=read_plain(view.law, PrivacyLaw),
            received_at=view.received_at,
            due_at=view.due_at,
            is_due_soon=is_left and view.due_at - NEAR <= now < view.due_at,
            is_overdue=is_left and now >= view.due_at,
            state=read_plain(view.state, ErasureState),
            accepted_at=view.accepted_at,
            obstacles=[_obstacle(each) for each in view.obstacles],
            possible_at=view.possible_at,
            configuration_ids=list(view.configuration_ids),
            points=view.points,
            erased_at=view.erased_at,
            completed_at=view.completed_at,
            places=list(view.places),
            has_receipt=view.receipt is not None,
            applied_again=view.applied_again,
            attempts=view.attempts,
            error=None
            if error is None
            else ErasureError(
                code=error.code, title=title_of(error.code), hint=hint_told(error.code, error.hint) or ""
            ),
            waiting=waiting_told(view.waiting),
            unreadable_fields=fields.unreadable,
        )


async def receipt_of(database: Database, organisation: str, erasure_id: str) -> str:
    """What was signed, to the byte. Raises ERASURE_UNKNOWN, ERASURE_RECEIPT_NONE."""
    stored, _ = await _found(database, organisation, erasure_id)
    receipt = read_view(stored, VIEW, NAME).receipt
    if receipt is None:
        raise PlatformError(errors.ERASURE_RECEIPT_NONE, "no repository has signed anything of it")
    return receipt


async def _found(database: Database, organisation: str, erasure_id: str) -> tuple[Any, ...]:
    found = await database.execute(_SELECT + " AND e.erasure_id = %s", (organisation, erasure_id))
    row: tuple[Any, ...] | None = await found.fetchone()
    if row is None:
        raise PlatformError(errors.ERASURE_UNKNOWN, "there is no such erasure")
    return row


def _obstacle(each: Obstacle) -> ErasureObstacle:
    hint = hint_told(each.code, "") or ""
    return ErasureObstacle(code=each.code, title=title_of(each.code), hint=hint, about=each.about, until=each.until)
