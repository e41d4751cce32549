"""Approvals as resources."""

from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.approval_events import ApprovalState, ApprovedOperation
from contracts.errors import PlatformError
from contracts.reading import read_plain
from gateway.groups.approvals.resources import Approval
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.writes.declaration import API_PREFIX
from gateway.writes.things import HOLD

_SELECT: LiteralString = """
    SELECT approval_id, operation, subject_id, state, asked_by, asked_at, expires_at, decided_by, decided_at
    FROM approvals WHERE organisation = %s
"""
_SUBJECTS = {ApprovedOperation.RELEASE_HOLD: HOLD}


class ApprovalFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which approvals a list shows."""

    state: tuple[ApprovalState, ...] = ()


async def one(database: Database, organisation: str, approval_id: str) -> Approval:
    """An approval. Raises APPROVAL_UNKNOWN, also where it is another organisation's."""
    query = _SELECT + " AND approval_id = %s"
    row = await (await database.execute(query, (organisation, approval_id))).fetchone()
    if row is None:
        raise PlatformError(errors.APPROVAL_UNKNOWN, "there is no such approval")
    return _told(row)


async def page(
    reading: Reading, sealer: Sealer, organisation: str, wanted: ApprovalFilter, *, limit: int, cursor: str | None
) -> ListPage[Approval]:
    """A page of approvals, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _SELECT,
        [(" AND state = ANY(%s)", [each.value for each in wanted.state] or None)],
        partial(made_of, make=_told),
        key=("asked_at", "approval_id"),
        place=lambda each: Place(each.asked_at, each.id),
        cursors=Cursors(sealer, organisation, "approvals", wanted),
        limit=limit,
        cursor=cursor,
    )


def _told(row: tuple[Any, ...]) -> Approval:
    approval_id, operation, subject_id, state, asked_by, asked_at, expires_at, decided_by, decided_at = row
    known = read_plain(operation, ApprovedOperation)
    subject = _SUBJECTS.get(known)
    return Approval(
        id=approval_id,
        operation=known,
        resource=None if subject is None else f"{API_PREFIX}{subject.path.format(subject_id)}",
        state=read_plain(state, ApprovalState),
        asked_by=asked_by,
        asked_at=asked_at,
        expires_at=expires_at,
        decided_by=decided_by,
        decided_at=decided_at,
    )
