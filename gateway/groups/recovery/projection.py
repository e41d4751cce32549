"""The read models of recovery: what the executor's runs have made, and what the recovery service does with it."""

from datetime import datetime

import msgspec

from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.envelope import Envelope
from contracts.erasure_events import RecoveryPointsErased
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.reading import written_as
from contracts.recovery_events import (
    RECOVERY_ENDED,
    RECOVERY_STATE_AFTER,
    RecoveryAccepted,
    RecoveryCompleted,
    RecoveryFact,
    RecoveryFailed,
    RecoveryPreparing,
    RecoveryRequeued,
    RecoveryStarted,
    RecoveryState,
    RecoveryTotals,
    RecoveryVerified,
)
from contracts.sealed import Sealed
from gateway.projections.applied import Database, Row, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow
from gateway.runs.views import ErrorView, PhaseView, WaitView

_KEEP_POINTS = """
    INSERT INTO {recovery_points} (recovery_point_id, organisation, configuration_id, completed_at, fact)
    SELECT recovery_point_id, organisation, configuration_id, completed_at, fact
    FROM json_populate_recordset(NULL::{recovery_points}, %s) ON CONFLICT (recovery_point_id) DO NOTHING
"""
_GONE = """
    UPDATE {recovery_points} kept SET gone_at = told.gone_at, gone = told.gone
    FROM json_populate_recordset(NULL::{recovery_points}, %s) told
    WHERE kept.recovery_point_id = told.recovery_point_id AND kept.organisation = told.organisation
        AND kept.gone_at IS NULL
"""
_LOAD = "SELECT operation_id, view::text FROM {recovery_operations} WHERE operation_id = ANY(%s)"
_STORE = """
    INSERT INTO {recovery_operations}
        (operation_id, organisation, configuration_id, recovery_point_id, request_id, state, accepted_at, view)
    SELECT operation_id, organisation, configuration_id, recovery_point_id, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{recovery_operations}, %s)
    ON CONFLICT (operation_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""


class RecoveryPoints(Projection):
    """What can be restored, and what could be: one for each run that has completed, but for one of an empty source."""

    NAME = "recovery-points"
    VERSION = 3
    EVENTS = (BackupCompleted, RecoveryPointsForgotten, RecoveryPointsErased)
    TABLES = ("recovery_points",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._keep, self._let_go = self.sql(_KEEP_POINTS), self.sql(_GONE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take what has completed over, in the caller's transaction."""
        rows: dict[str, Row] = {}
        gone: dict[str, Row] = {}
        for applied in batch.events:
            event = applied.event
            if isinstance(event, RecoveryPointsForgotten | RecoveryPointsErased):
                by = event.erasure_id if isinstance(event, RecoveryPointsErased) else event.cleanup_id
                for each in event.points:
                    gone.setdefault(
                        each.recovery_point_id,
                        {
                            "recovery_point_id": each.recovery_point_id,
                            "organisation": applied.envelope.organisation,
                            "gone_at": applied.envelope.time,
                            "gone": GoneView(by, each.rules),
                        },
                    )
            elif isinstance(event, BackupCompleted) and event.is_recovery_point:
                rows[event.execution_id] = {
                    "recovery_point_id": event.execution_id,
                    "organisation": applied.envelope.organisation,
                    "configuration_id": event.configuration_id,
                    "completed_at": applied.envelope.time,
                    "fact": event,
                }
        await upsert(database, self._keep, list(rows.values()))
        await upsert(database, self._let_go, list(gone.values()))


class GoneView(msgspec.Struct, frozen=True):
    """By which cleanup (or, under its name, erasure) a point went, and by which rules it was allowed to."""

    cleanup_id: str
    rules: tuple[str, ...]


class OperationView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One recovery, folded from its facts. `version` counts them; `attempts` is the fence."""

    operation_id: str
    organisation: str
    configuration_id: str
    recovery_point_id: str
    snapshot_id: str
    request_id: str
    recovery_type: str
    target_location: str
    target_path: Sealed
    scope: Sealed | None = None
    conflict_policy: str
    initiated_by: str
    accepted_at: datetime
    state: str = RecoveryState.INITIALIZING.value
    version: int = 1
    attempts: int = 0
    phases: list[PhaseView]
    verified: bool = False
    degraded: bool = False
    degraded_code: str | None = None
    totals: RecoveryTotals | None = None
    missing_in_point: int = 0
    seconds: float = 0.0
    finished_at: datetime | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None

    @classmethod
    def accepted(cls, envelope: Envelope, event: RecoveryAccepted) -> "OperationView":
        """A recovery as it begins."""
        return cls(
            operation_id=event.operation_id,
            organisation=envelope.organisation,
            configuration_id=event.configuration_id,
            recovery_point_id=event.recovery_point_id,
            snapshot_id=event.snapshot_id,
            request_id=event.request_id,
            recovery_type=written_as(event.recovery_type),
            target_location=event.target_location,
            target_path=event.target_path,
            scope=event.scope,
            conflict_policy=written_as(event.conflict_policy),
            initiated_by=envelope.actor,
            accepted_at=envelope.time,
            phases=[PhaseView(RecoveryState.INITIALIZING.value, envelope.time)],
        )

    def apply(self, envelope: Envelope, event: Event) -> None:
        """Take a later fact of this recovery over."""
        self.version += 1
        at = envelope.time
        match event:
            case RecoveryPreparing(fence=fence):
                self.attempts = fence
            case RecoveryRequeued():
                self._wait(event, at)
            case RecoveryStarted():
                self.waiting = None
            case RecoveryVerified():
                self.verified = True
            case RecoveryCompleted():
                self.totals, self.seconds = event.totals, event.seconds
                self.degraded, self.degraded_code = event.degraded, event.code
                self.missing_in_point = event.missing_in_point
            case RecoveryFailed():
                self.error, self.totals = ErrorView(event.code, event.hint), event.totals
        if (state := RECOVERY_STATE_AFTER.get(type(event))) is not None:
            self._enter(state, at)

    def _wait(self, event: RecoveryRequeued, at: datetime) -> None:
        if event.code is None:
            self.waiting = None
            return
        known = self.waiting
        since = known.since if known is not None and known.code == event.code else at
        self.waiting = WaitView(event.code, since, event.hint, event.next_attempt_at)

    def _enter(self, state: RecoveryState, at: datetime) -> None:
        last = self.phases[-1]
        if last.name == state.value and last.finished_at is None:
            return
        if last.finished_at is None:
            last.finished_at = at
        self.state = state.value
        if state in RECOVERY_ENDED:
            self.finished_at, self.waiting = at, None
        else:
            self.phases.append(PhaseView(state.value, at))


_VIEW = msgspec.json.Decoder(OperationView)
_FACT = msgspec.json.Decoder(BackupCompleted)
_GONE_VIEW = msgspec.json.Decoder(GoneView)


class RecoveryOperations(Projection):
    """Recoveries; says to which configuration each belongs."""

    NAME = "recovery-operations"
    VERSION = 1
    EVENTS = (*RECOVERY_STATE_AFTER, RecoveryVerified)
    TABLES = ("recovery_operations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD), self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        views = await follow(database, batch, _WORK, load=self._load, store=self._store, name=self.NAME)
        batch.configuration_of.update((view.operation_id, view.configuration_id) for view in views.values())


def operation_view(stored: str) -> OperationView:
    """A stored recovery. Raises ViewUnreadable."""
    return read_view(stored, _VIEW, RecoveryOperations.NAME)


def point_fact(stored: str) -> BackupCompleted:
    """What is stored of a recovery point. Raises ViewUnreadable."""
    return read_view(stored, _FACT, RecoveryPoints.NAME)


def gone_view(stored: str) -> GoneView:
    """What is stored of how a point went. Raises ViewUnreadable."""
    return read_view(stored, _GONE_VIEW, RecoveryPoints.NAME)


def _row(view: OperationView) -> Row:
    columns = ("operation_id", "organisation", "configuration_id", "recovery_point_id", "request_id", "state")
    return {**{name: getattr(view, name) for name in columns}, "accepted_at": view.accepted_at, "view": view}


_WORK = Work(
    fact=RecoveryFact,
    id_of=lambda fact: fact.operation_id,
    begins=RecoveryAccepted,
    begun=OperationView.accepted,
    view=_VIEW,
    row=_row,
)
