"""Cleanups as resources."""

from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.cleanup_events import CleanupPurpose, CleanupState
from contracts.errors import PlatformError
from contracts.reading import read_plain
from gateway.groups.retention.projection import CleanupView, cleanup_view
from gateway.groups.retention.resources import CleanupError, CleanupResult, RetentionCleanup
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.queries import hint_told, title_of, waiting_told

_SELECT: LiteralString = """
    SELECT o.view::text, q.actor FROM retention_cleanups o LEFT JOIN requests q USING (request_id)
    WHERE o.organisation = %s
"""


class _All(msgspec.Struct, frozen=True):
    """No list of cleanups is narrowed."""


async def one(database: Database, organisation: str, cleanup_id: str) -> RetentionCleanup:
    """A cleanup. Raises NOT_FOUND, also where it is another organisation's."""
    query = _SELECT + " AND o.cleanup_id = %s"
    row = await (await database.execute(query, (organisation, cleanup_id))).fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such cleanup")
    return _told(row)


async def page(
    reading: Reading, sealer: Sealer, organisation: str, *, limit: int, cursor: str | None
) -> ListPage[RetentionCleanup]:
    """A page of cleanups, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _SELECT,
        [],
        partial(made_of, make=_told),
        key=("o.accepted_at", "o.cleanup_id"),
        place=lambda each: Place(each.started_at, each.id),
        cursors=Cursors(sealer, organisation, "retention-cleanups", _All()),
        limit=limit,
        cursor=cursor,
    )


def _told(row: tuple[Any, ...]) -> RetentionCleanup:
    stored, actor = row
    view = cleanup_view(stored)
    return RetentionCleanup(
        id=view.cleanup_id,
        version=view.version,
        request_id=view.request_id,
        initiated_by=actor or view.initiated_by,
        dry_run=view.dry_run,
        purpose=read_plain(view.purpose, CleanupPurpose),
        configuration_ids=list(view.configuration_ids),
        state=read_plain(view.state, CleanupState),
        degraded=view.end is not None and view.end.degraded,
        started_at=view.accepted_at,
        finished_at=view.finished_at,
        attempts=view.attempts,
        gone=view.gone,
        went=view.went,
        result=_result(view),
        error=_error(view),
        waiting=waiting_told(view.waiting),
    )


def _error(view: CleanupView) -> CleanupError | None:
    if view.error is None:
        return None
    code = view.error.code
    return CleanupError(code=code, title=title_of(code), hint=hint_told(code, view.error.hint) or "")


def _result(view: CleanupView) -> CleanupResult | None:
    end = view.end
    if end is None:
        return None
    return CleanupResult(
        gone=end.gone,
        kept=end.kept,
        waiting=end.waiting,
        overdue=end.overdue,
        unseen=end.unseen,
        waits=list(end.waits),
        going=list(end.going),
        places=list(end.places),
        held=list(end.held),
        freed_bytes=sum(place.freed_bytes for place in end.places),
        is_partial_measure=end.is_partial_measure,
        seconds=end.seconds,
    )
