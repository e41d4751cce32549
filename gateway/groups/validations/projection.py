"""The read models of validations: each as it stands, and of each recovery point what was last proven of its tiers."""

from datetime import datetime

import msgspec

from contracts.configuration import Tier
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.reading import written_as
from contracts.validation_events import (
    VALIDATION_ENDED,
    VALIDATION_STATE_AFTER,
    RecoveryPointCorrupted,
    RecoveryPointVerified,
    RecoveryValidationAccepted,
    RecoveryValidationFailed,
    RecoveryValidationPreparing,
    RecoveryValidationRequeued,
    ValidationEnd,
    ValidationFact,
    ValidationState,
)
from gateway.projections.applied import Applied, Database, Row, load_views, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow
from gateway.runs.proven import ProofsView, proofs_decoder
from gateway.runs.views import ErrorView, WaitView

_LOAD = "SELECT validation_id, view::text FROM {recovery_validations} WHERE validation_id = ANY(%s)"
_STORE = """
    INSERT INTO {recovery_validations}
        (validation_id, organisation, configuration_id, recovery_point_id, request_id, state, accepted_at, view)
    SELECT validation_id, organisation, configuration_id, recovery_point_id, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{recovery_validations}, %s)
    ON CONFLICT (validation_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""
_LOAD_PROOFS = "SELECT recovery_point_id, view::text FROM {recovery_proofs} WHERE recovery_point_id = ANY(%s)"
_STORE_PROOFS = """
    INSERT INTO {recovery_proofs} (recovery_point_id, organisation, view)
    SELECT recovery_point_id, organisation, view FROM json_populate_recordset(NULL::{recovery_proofs}, %s)
    ON CONFLICT (recovery_point_id) DO UPDATE SET view = excluded.view
    WHERE {recovery_proofs}.organisation = excluded.organisation
"""


class ValidationView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One validation, folded from its facts. `version` counts them; `attempts` is the fence."""

    validation_id: str
    organisation: str
    configuration_id: str
    recovery_point_id: str
    request_id: str
    depth: str
    tiers: tuple[Tier, ...] = ()
    initiated_by: str
    accepted_at: datetime
    state: str = ValidationState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    verified: RecoveryPointVerified | None = None
    corrupted: RecoveryPointCorrupted | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None
    finished_at: datetime | None = None

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this validation over."""
        self.version += 1
        match event:
            case RecoveryValidationPreparing(fence=fence):
                self.attempts = fence
            case RecoveryValidationRequeued(code=None):
                self.waiting = None
            case RecoveryValidationRequeued(code=str() as code):
                known = self.waiting
                since = known.since if known is not None and known.code == code else envelope.time
                self.waiting = WaitView(code, since, event.hint, event.next_attempt_at)
            case RecoveryPointVerified():
                self.verified = event
            case RecoveryPointCorrupted():
                self.corrupted = event
            case RecoveryValidationFailed():
                self.error = ErrorView(event.code, event.hint)
        if (state := VALIDATION_STATE_AFTER.get(type(event))) is not None:
            self.state = state.value
            if state in VALIDATION_ENDED:
                self.finished_at, self.waiting = envelope.time, None
            elif state is ValidationState.VALIDATING:
                self.waiting = None


_VIEW = msgspec.json.Decoder(ValidationView)


class RecoveryValidations(Projection):
    """Each validation: where it stands, and what was found; says to which configuration it belongs."""

    NAME = "recovery-validations"
    VERSION = 1
    EVENTS = tuple(VALIDATION_STATE_AFTER)
    TABLES = ("recovery_validations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD), self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        views = await follow(database, batch, _WORK, load=self._load, store=self._store, name=self.NAME)
        batch.configuration_of.update((view.validation_id, view.configuration_id) for view in views.values())


class RecoveryProofs(Projection):
    """Of each recovery point that was validated, what was last proven of each tier, and which has damage."""

    NAME = "recovery-proofs"
    VERSION = 2
    EVENTS = (RecoveryPointVerified, RecoveryPointCorrupted)
    TABLES = ("recovery_proofs",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD_PROOFS), self.sql(_STORE_PROOFS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        ends: list[tuple[Applied, ValidationEnd]] = [
            (applied, applied.event) for applied in batch.events if isinstance(applied.event, ValidationEnd)
        ]
        ids = list({event.recovery_point_id for _, event in ends})
        views, unreadable = await load_views(database, self._load, ids, proofs_decoder())
        organisations: dict[str, str] = {}
        for applied, event in ends:
            if event.recovery_point_id in unreadable:
                continue
            organisations[event.recovery_point_id] = applied.envelope.organisation
            view = views.setdefault(event.recovery_point_id, ProofsView())
            view.take(event, applied.envelope.time)
        rows: list[Row] = [
            {"recovery_point_id": point, "organisation": organisations[point], "view": view}
            for point, view in views.items()
        ]
        await upsert(database, self._store, rows)
        if unreadable:
            batch.unreadable[self.NAME] = f"{len(unreadable)} stored views cannot be read by this build"


def validation_view(stored: str) -> ValidationView:
    """A stored validation. Raises ViewUnreadable."""
    return read_view(stored, _VIEW, RecoveryValidations.NAME)


def _accepted(envelope: Envelope, event: RecoveryValidationAccepted) -> ValidationView:
    return ValidationView(
        validation_id=event.validation_id,
        organisation=envelope.organisation,
        configuration_id=event.configuration_id,
        recovery_point_id=event.recovery_point_id,
        request_id=event.request_id,
        depth=written_as(event.depth),
        tiers=event.tiers,
        initiated_by=envelope.actor,
        accepted_at=envelope.time,
    )


def _row(view: ValidationView) -> Row:
    columns = ("validation_id", "organisation", "configuration_id", "recovery_point_id", "request_id", "state")
    return {**{name: getattr(view, name) for name in columns}, "accepted_at": view.accepted_at, "view": view}


_WORK = Work(
    fact=ValidationFact,
    id_of=lambda fact: fact.validation_id,
    begins=RecoveryValidationAccepted,
    begun=_accepted,
    view=_VIEW,
    row=_row,
)
