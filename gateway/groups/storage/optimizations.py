"""Optimisations: their read model, and each as a resource. The executor's stream alone changes the table."""

from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.optimization_events import (
    OPTIMIZATION_ENDED,
    OPTIMIZATION_STATE_AFTER,
    OptimizationState,
    StorageOptimizationAccepted,
    StorageOptimizationFailed,
    StorageOptimizationPreparing,
    StorageOptimizationRequeued,
    StorageOptimized,
)
from contracts.reading import read_plain
from gateway.groups.storage.resources import OptimizationError, OptimizationResult, StorageOptimization
from gateway.http.resources import ListPage
from gateway.projections.applied import Database, Row, read_view
from gateway.reading.cursor import Cursors, Place
from gateway.reading.slices import Reading, made_of, page_of
from gateway.runs.queries import hint_told, title_of, waiting_told
from gateway.runs.views import ErrorView, WaitView

NAME = "storage-optimizations"
_SELECT: LiteralString = """
    SELECT o.view::text, q.actor FROM storage_optimizations o LEFT JOIN requests q USING (request_id)
    WHERE o.organisation = %s
"""


class OptimizationView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One optimisation, folded from its facts. `version` counts them; `attempts` is the fence."""

    optimization_id: str
    organisation: str
    request_id: str
    initiated_by: str
    accepted_at: datetime
    dry_run: bool
    state: str = OptimizationState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    end: StorageOptimized | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None
    finished_at: datetime | None = None

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this optimisation over."""
        self.version += 1
        match event:
            case StorageOptimizationPreparing(fence=fence):
                self.attempts = fence
            case StorageOptimizationRequeued(code=None):
                self.waiting = None
            case StorageOptimizationRequeued(code=str() as code):
                known = self.waiting
                since = known.since if known is not None and known.code == code else envelope.time
                self.waiting = WaitView(code, since, event.hint, event.next_attempt_at)
            case StorageOptimized():
                self.end = event
            case StorageOptimizationFailed():
                self.error = ErrorView(event.code, event.hint)
        if (state := OPTIMIZATION_STATE_AFTER.get(type(event))) is not None:
            self.state = state.value
            if state in OPTIMIZATION_ENDED:
                self.finished_at, self.waiting = envelope.time, None


VIEW = msgspec.json.Decoder(OptimizationView)


def begun(envelope: Envelope, event: StorageOptimizationAccepted) -> OptimizationView:
    """An optimisation as it is when it was accepted."""
    return OptimizationView(
        optimization_id=event.optimization_id,
        organisation=envelope.organisation,
        request_id=event.request_id,
        initiated_by=envelope.actor,
        accepted_at=envelope.time,
        dry_run=event.dry_run,
    )


def row(view: OptimizationView) -> Row:
    """As it is stored."""
    columns = ("optimization_id", "organisation", "request_id", "state", "accepted_at")
    return {**{name: getattr(view, name) for name in columns}, "view": view}


async def one(database: Database, organisation: str, optimization_id: str) -> StorageOptimization:
    """An optimisation. Raises NOT_FOUND, also where it is another organisation's."""
    query = _SELECT + " AND o.optimization_id = %s"
    found = await (await database.execute(query, (organisation, optimization_id))).fetchone()
    if found is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such optimisation")
    return _told(found)


async def page(
    reading: Reading, sealer: Sealer, organisation: str, *, limit: int, cursor: str | None
) -> ListPage[StorageOptimization]:
    """A page of optimisations, the latest first. Raises INVALID_CURSOR."""
    return await page_of(
        reading,
        organisation,
        _SELECT,
        [],
        partial(made_of, make=_told),
        key=("o.accepted_at", "o.optimization_id"),
        place=lambda each: Place(each.started_at, each.id),
        cursors=Cursors(sealer, organisation, "storage-optimizations", _All()),
        limit=limit,
        cursor=cursor,
    )


class _All(msgspec.Struct, frozen=True):
    """No list of optimisations is narrowed."""


def _told(found: tuple[Any, ...]) -> StorageOptimization:
    stored, actor = found
    view = read_view(stored, VIEW, NAME)
    return StorageOptimization(
        id=view.optimization_id,
        version=view.version,
        request_id=view.request_id,
        initiated_by=actor or view.initiated_by,
        dry_run=view.dry_run,
        state=read_plain(view.state, OptimizationState),
        degraded=view.end is not None and view.end.degraded,
        started_at=view.accepted_at,
        finished_at=view.finished_at,
        attempts=view.attempts,
        result=_result(view),
        error=_error(view),
        waiting=waiting_told(view.waiting),
    )


def _result(view: OptimizationView) -> OptimizationResult | None:
    end = view.end
    if end is None:
        return None
    return OptimizationResult(
        allowed_bytes=end.allowed_bytes,
        saved_bytes=sum(each.freed_bytes - each.stored_bytes for each in end.optimized_places),
        places=list(end.optimized_places),
        is_partial_measure=end.is_partial_measure,
        seconds=end.seconds,
    )


def _error(view: OptimizationView) -> OptimizationError | None:
    if view.error is None:
        return None
    code = view.error.code
    return OptimizationError(code=code, title=title_of(code), hint=hint_told(code, view.error.hint) or "")
