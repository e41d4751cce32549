"""The read model of erasures, each folded from its facts. The executor's stream alone changes it."""

from datetime import datetime

import msgspec

from contracts.envelope import Envelope
from contracts.erasure_events import (
    DataSubjectErased,
    ErasureAccepted,
    ErasureAppliedAgain,
    ErasureBegun,
    ErasureBlocked,
    ErasureFact,
    ErasurePreparing,
    ErasurePutOff,
    ErasureRequeued,
    ErasureState,
    Obstacle,
    PlaceErased,
    erasure_state_after,
)
from contracts.event import Event, pinned_kinds
from contracts.reading import written_as
from contracts.sealed import Sealed
from gateway.projections.applied import Database, Row
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow
from gateway.runs.views import ErrorView, WaitView

_LOAD = "SELECT erasure_id, view::text FROM {subject_erasures} WHERE erasure_id = ANY(%s)"
_STORE = """
    INSERT INTO {subject_erasures} (erasure_id, organisation, request_id, state, accepted_at, view)
    SELECT erasure_id, organisation, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{subject_erasures}, %s)
    ON CONFLICT (erasure_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""
NAME = "subject-erasures"


class ErasureView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One erasure. `version` counts its facts; `attempts` is the fence."""

    erasure_id: str
    organisation: str
    request_id: str
    requested_by: str
    accepted_at: datetime
    data_subject: Sealed
    law: str
    received_at: datetime
    due_at: datetime
    configuration_ids: tuple[str, ...] = ()
    points: int = 0
    state: str = ErasureState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    obstacles: tuple[Obstacle, ...] = ()
    possible_at: datetime | None = None
    places: tuple[PlaceErased, ...] = ()
    receipt: str | None = None
    erased_at: datetime | None = None
    completed_at: datetime | None = None
    applied_again: int = 0
    error: ErrorView | None = None
    waiting: WaitView | None = None

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this erasure over."""
        self.version += 1
        match event:
            case ErasurePreparing(fence=fence):
                self.attempts, self.waiting = fence, None
            case ErasureRequeued(code=None):
                self.waiting = None
            case ErasureRequeued(code=str() as code):
                before = self.waiting
                since = before.since if before is not None and before.code == code else envelope.time
                self.waiting = WaitView(code, since, event.hint, event.next_attempt_at)
            case ErasureBlocked(obstacles=obstacles, possible_at=possible_at):
                self.obstacles, self.possible_at, self.error = obstacles, possible_at, None
            case ErasureBegun():
                self.obstacles, self.possible_at, self.error = (), None, None
            case DataSubjectErased(erased_places=places, possible_at=possible_at):
                self.places, self.possible_at, self.error = places, possible_at, None
                # A later attempt that finds nothing more has none of its own: what was signed stays.
                self.receipt = event.receipt or self.receipt
                self.erased_at = self.erased_at or envelope.time
                self.completed_at = envelope.time if event.is_complete else None
            case ErasurePutOff(code=code, hint=hint):
                self.error = ErrorView(code, hint)
            case ErasureAppliedAgain():
                self.applied_again += 1
        if (state := erasure_state_after(event)) is not None:
            self.state = state.value


VIEW = msgspec.json.Decoder(ErasureView)


class SubjectErasures(Projection):
    """Each erasure: what stands against it, what was destroyed, and what is left."""

    NAME = NAME
    VERSION = 1
    EVENTS = pinned_kinds(ErasureFact)
    TABLES = ("subject_erasures",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD), self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await follow(database, batch, _WORK, load=self._load, store=self._store, name=self.NAME)


def _begun(envelope: Envelope, event: ErasureAccepted) -> ErasureView:
    return ErasureView(
        erasure_id=event.erasure_id,
        organisation=envelope.organisation,
        request_id=event.request_id,
        requested_by=envelope.actor,
        accepted_at=envelope.time,
        data_subject=event.data_subject,
        law=written_as(event.law),
        received_at=event.received_at,
        due_at=event.deadline_at,
        configuration_ids=event.configuration_ids,
        points=event.point_count,
    )


def _row(view: ErasureView) -> Row:
    columns = ("erasure_id", "organisation", "request_id", "state", "accepted_at")
    return {**{name: getattr(view, name) for name in columns}, "view": view}


_WORK = Work(
    fact=ErasureFact,
    id_of=lambda fact: fact.erasure_id,
    begins=ErasureAccepted,
    begun=_begun,
    view=VIEW,
    row=_row,
)
