"""The read models of retention: policies, each as it is in force, and cleanups.

The config service's stream alone changes the first of the tables, the executor's alone the second.
"""

from datetime import datetime

import msgspec

from contracts.cleanup_events import (
    CLEANUP_ENDED,
    CLEANUP_STATE_AFTER,
    CleanupFact,
    CleanupPurpose,
    CleanupState,
    GoingPoint,
    RecoveryPointsForgotten,
    RetentionCleanedUp,
    RetentionCleanupAccepted,
    RetentionCleanupFailed,
    RetentionCleanupPreparing,
    RetentionCleanupRequeued,
)
from contracts.config_events import RetentionPolicyFact
from contracts.envelope import Envelope
from contracts.event import Event, pinned_kinds
from contracts.reading import written_as
from contracts.retention import RetentionPolicyBody
from gateway.projections.applied import Database, Row, read_view, upsert
from gateway.projections.in_force import rows_in_force
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow
from gateway.runs.views import ErrorView, WaitView

_STORE = """
    INSERT INTO {retention_policies} (
        retention_policy_id, organisation, version, request_id, created_by, created_at, changed_at, body)
    SELECT retention_policy_id, organisation, version, request_id, created_by, created_at, changed_at, body
    FROM json_populate_recordset(NULL::{retention_policies}, %s)
    ON CONFLICT (retention_policy_id) DO UPDATE SET
        version = excluded.version, changed_at = excluded.changed_at, body = excluded.body
"""
_LOAD_CLEANUPS = "SELECT cleanup_id, view::text FROM {retention_cleanups} WHERE cleanup_id = ANY(%s)"
_STORE_CLEANUPS = """
    INSERT INTO {retention_cleanups} (cleanup_id, organisation, request_id, state, accepted_at, view)
    SELECT cleanup_id, organisation, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{retention_cleanups}, %s)
    ON CONFLICT (cleanup_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""
WENT_MAX = 1000
"""So many of the points that went are named in a cleanup; each point says by which it went."""
_BODY = msgspec.json.Decoder(RetentionPolicyBody)


class RetentionPolicies(Projection):
    """Each retention policy as it is in force. Sealed fields stay sealed."""

    NAME = "retention-policies"
    VERSION = 1
    EVENTS = pinned_kinds(RetentionPolicyFact)
    TABLES = ("retention_policies",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await upsert(database, self._store, rows_in_force(batch, RetentionPolicyFact, "retention_policy_id"))


def policy_body(stored: str) -> RetentionPolicyBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, RetentionPolicies.NAME)


class CleanupView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One cleanup, folded from its facts. `version` counts them; `attempts` is the fence."""

    cleanup_id: str
    organisation: str
    request_id: str
    initiated_by: str
    accepted_at: datetime
    dry_run: bool
    purpose: str = CleanupPurpose.LET_GO.value
    configuration_ids: tuple[str, ...] = ()
    state: str = CleanupState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    gone: int = 0
    went: list[GoingPoint] = []
    end: RetentionCleanedUp | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None
    finished_at: datetime | None = None

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this cleanup over."""
        self.version += 1
        match event:
            case RetentionCleanupPreparing(fence=fence):
                self.attempts = fence
            case RetentionCleanupRequeued(code=None):
                self.waiting = None
            case RetentionCleanupRequeued(code=str() as code):
                known = self.waiting
                since = known.since if known is not None and known.code == code else envelope.time
                self.waiting = WaitView(code, since, event.hint, event.next_attempt_at)
            case RecoveryPointsForgotten(points=points):
                self.gone += len(points)
                self.went += points[: max(0, WENT_MAX - len(self.went))]
                self.waiting = None
            case RetentionCleanedUp():
                self.end = event
            case RetentionCleanupFailed():
                self.error = ErrorView(event.code, event.hint)
        if (state := CLEANUP_STATE_AFTER.get(type(event))) is not None:
            self.state = state.value
            if state in CLEANUP_ENDED:
                self.finished_at, self.waiting = envelope.time, None


_CLEANUP = msgspec.json.Decoder(CleanupView)


class RetentionCleanups(Projection):
    """Each cleanup: where it stands, what went, and what each place gave back."""

    NAME = "retention-cleanups"
    VERSION = 1
    EVENTS = (*CLEANUP_STATE_AFTER, RecoveryPointsForgotten)
    TABLES = ("retention_cleanups",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD_CLEANUPS), self.sql(_STORE_CLEANUPS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await follow(database, batch, _WORK, load=self._load, store=self._store, name=self.NAME)


def cleanup_view(stored: str) -> CleanupView:
    """A stored cleanup. Raises ViewUnreadable."""
    return read_view(stored, _CLEANUP, RetentionCleanups.NAME)


def _accepted(envelope: Envelope, event: RetentionCleanupAccepted) -> CleanupView:
    return CleanupView(
        cleanup_id=event.cleanup_id,
        organisation=envelope.organisation,
        request_id=event.request_id,
        initiated_by=envelope.actor,
        accepted_at=envelope.time,
        dry_run=event.dry_run,
        purpose=written_as(event.purpose),
        configuration_ids=event.configuration_ids,
    )


def _row(view: CleanupView) -> Row:
    columns = ("cleanup_id", "organisation", "request_id", "state", "accepted_at")
    return {**{name: getattr(view, name) for name in columns}, "view": view}


_WORK = Work(
    fact=CleanupFact,
    id_of=lambda fact: fact.cleanup_id,
    begins=RetentionCleanupAccepted,
    begun=_accepted,
    view=_CLEANUP,
    row=_row,
)
