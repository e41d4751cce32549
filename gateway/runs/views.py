"""What the read models know about runs, folded from the executor's facts. Pure.

`ExecutionView` is everything about one run; `RunsView` is what a configuration shows of its runs. Both are stored as
JSON beside the columns that are searched; members of enums as they were written, also those that only a newer build
knows. An `apply` never raises: facts are true, in the order of their positions. Which of two came later is told by
their positions in the executor's log (`began`, `ended`, `uploaded`, `failed`), never by anybody's clock.
"""

from datetime import datetime

import msgspec

from contracts import errors
from contracts.configuration import Tier
from contracts.envelope import Envelope
from contracts.event import Event
from contracts.executor_events import (
    ENDED,
    STATE_AFTER,
    BackupAccepted,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupRefused,
    BackupRequeued,
    BackupUploading,
    ExecutionState,
    RunTotals,
    TierFailed,
    TierUploaded,
)
from contracts.reading import written_as


class PhaseView(msgspec.Struct, omit_defaults=True):
    """One phase, with its times."""

    name: str
    started_at: datetime
    finished_at: datetime | None = None


class TierView(msgspec.Struct, omit_defaults=True):
    """What one tier has of a run.

    `uploaded_at`, `failed_at` and `failed_code` stay when the state changes, so that what is made of a view does not
    depend on how the facts came in batches.
    """

    state: str = "pending"
    verified: bool = False
    snapshot_id: str | None = None
    log_entry: int | None = None
    uploaded_bytes: int | None = None
    objects: int | None = None
    seconds: float | None = None
    code: str | None = None
    hint: str | None = None
    uploaded_at: datetime | None = None
    failed_at: datetime | None = None
    failed_code: str | None = None
    uploaded: int = 0
    failed: int = 0


class ErrorView(msgspec.Struct, omit_defaults=True):
    """Why a run failed."""

    code: str
    hint: str = ""
    tier: str | None = None


class WaitView(msgspec.Struct, omit_defaults=True):
    """What keeps a run from being done at present, as its last attempt has met it; `since`: the first that met it."""

    code: str
    since: datetime
    hint: str = ""
    next_attempt_at: datetime | None = None


class ExecutionView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One run. `version` counts its facts; `attempts` is the fence: how often a worker has claimed it.

    `degraded_code`: what a completed run lacks beside tiers that are owed a catch-up.
    """

    execution_id: str
    organisation: str
    configuration_id: str
    configuration_version: int
    request_id: str
    execution_type: str
    retry_of: str | None = None
    started_by: str
    accepted_at: datetime
    state: str = ExecutionState.INITIALIZING.value
    degraded: bool = False
    degraded_code: str | None = None
    version: int = 1
    attempts: int = 0
    phases: list[PhaseView]
    tiers: dict[str, TierView]
    size_estimate: int | None = None
    totals: RunTotals | None = None
    snapshot_id: str | None = None
    report_digest: str | None = None
    seconds: float = 0.0
    finished_at: datetime | None = None
    error: ErrorView | None = None
    waiting: WaitView | None = None
    is_urgent: bool = False
    due_at: datetime | None = None
    follow_up_at: datetime | None = None
    began: int = 0
    ended: int = 0

    @classmethod
    def accepted(cls, envelope: Envelope, event: BackupAccepted, position: int) -> "ExecutionView":
        """A run as it begins."""
        return cls(
            execution_id=event.execution_id,
            organisation=envelope.organisation,
            configuration_id=event.configuration_id,
            configuration_version=event.configuration_version,
            request_id=event.request_id,
            execution_type=written_as(event.execution_type),
            retry_of=event.retry_of,
            # A schedule has no request that would tell who asked.
            started_by=envelope.actor if event.due_at is None else f"schedule:{event.configuration_id}",
            accepted_at=envelope.time,
            phases=[PhaseView(ExecutionState.INITIALIZING.value, envelope.time)],
            tiers={written_as(tier): TierView() for tier in event.tiers},
            size_estimate=event.size_estimate_bytes,
            is_urgent=event.is_urgent,
            due_at=event.due_at,
            began=position,
        )

    def apply(self, envelope: Envelope, event: Event, position: int) -> None:
        """Take a later fact of this run over."""
        self.version += 1
        at = envelope.time
        match event:
            case BackupPreparing(fence=fence):
                self.attempts = fence
            case BackupRequeued():
                self._wait(event, at)
            case BackupUploading():
                self.waiting = None
            case TierUploaded(tier=tier):
                known = self._tier(tier)
                self.tiers[written_as(tier)] = TierView(
                    "uploaded",
                    snapshot_id=event.snapshot_id,
                    log_entry=event.log_entry,
                    uploaded_bytes=event.uploaded_bytes,
                    objects=event.objects,
                    seconds=event.seconds,
                    uploaded_at=at,
                    failed_at=known.failed_at,
                    failed_code=known.failed_code,
                    uploaded=position,
                    failed=known.failed,
                )
            case TierFailed(tier=tier):
                self._fail_tier(tier, event.code, event.hint, at, position)
            case BackupCompleted():
                self._complete(event, at, position)
            case BackupFailed():
                self.error = ErrorView(event.code, event.hint, None if event.tier is None else written_as(event.tier))
                self.report_digest, self.follow_up_at = event.report_digest, event.follow_up_at
        if (state := STATE_AFTER.get(type(event))) is not None:
            self._enter(state, at, position)

    def _complete(self, event: BackupCompleted, at: datetime, position: int) -> None:
        self.degraded_code = event.code
        if event.totals.unreadable_files and event.code is None:
            # Earlier builds told the number alone, and called such a run complete.
            self.degraded_code = errors.SOURCE_INCOMPLETE.code
        self.degraded = event.degraded or self.degraded_code is not None
        self.totals = event.totals
        self.snapshot_id = event.snapshot_id
        self.report_digest, self.follow_up_at = event.report_digest, event.follow_up_at
        self.seconds = event.seconds
        for tier in event.verified:
            self._tier(tier).verified = True
        for owed in event.catch_ups:
            if self._tier(owed.tier).state != "failed":
                self._fail_tier(owed.tier, owed.code, "", at, position)

    def _wait(self, event: BackupRequeued, at: datetime) -> None:
        """While an attempt is made what it was given back for still stands: nobody knows better yet."""
        if event.code is None:
            self.waiting = None  # The worker was stopped, and the next one has met nothing yet.
            return
        known = self.waiting
        since = known.since if known is not None and known.code == event.code else at
        self.waiting = WaitView(event.code, since, event.hint, event.next_attempt_at)

    def _tier(self, tier: Tier) -> TierView:
        return self.tiers.setdefault(written_as(tier), TierView())

    def _fail_tier(self, tier: Tier, code: str, hint: str, at: datetime, position: int) -> None:
        known = self._tier(tier)
        self.tiers[written_as(tier)] = TierView(
            "failed",
            code=code,
            hint=hint,
            uploaded_at=known.uploaded_at,
            failed_at=at,
            failed_code=code,
            uploaded=known.uploaded,
            failed=position,
        )

    def _enter(self, state: ExecutionState, at: datetime, position: int) -> None:
        if self.phases and self.phases[-1].name == state.value and self.phases[-1].finished_at is None:
            return  # What it waits for has changed, and not what it is at.
        if self.phases and self.phases[-1].finished_at is None:
            self.phases[-1].finished_at = at
        self.state = state.value
        if state in ENDED:
            self.finished_at, self.ended, self.waiting = at, position, None
        else:
            self.phases.append(PhaseView(state.value, at))

    @property
    def counted_as(self) -> str:
        """The name under which the status counts it."""
        return "degraded" if self.degraded and self.state == "completed" else self.state


class LastRunView(msgspec.Struct, omit_defaults=True):
    """The latest run of a configuration."""

    execution_id: str
    state: str
    degraded: bool
    started_at: datetime
    finished_at: datetime | None = None
    error_code: str | None = None
    began: int = 0
    ended: int = 0


class RecoveryPointView(msgspec.Struct, omit_defaults=True):
    """The latest snapshot that is on every required tier; `tiers` hold it, `verified` were read back.

    `version`: of the configuration that it was made with.
    """

    execution_id: str
    snapshot_id: str
    completed_at: datetime
    tiers: list[str]
    verified: list[str]
    ended: int = 0
    version: int = 0


class RefusedView(msgspec.Struct, omit_defaults=True):
    """The latest run that a schedule has asked for in vain: it was refused, or waited beyond its time for a worker."""

    due_at: datetime
    code: str
    hint: str = ""


class TierRecord(msgspec.Struct, omit_defaults=True):
    """How one tier did lately for one configuration."""

    uploaded_at: datetime | None = None
    failed_at: datetime | None = None
    code: str | None = None
    uploaded: int = 0
    failed: int = 0

    @property
    def is_behind(self) -> bool:
        """Whether it has failed since its last upload."""
        return self.failed > self.uploaded


class RunsView(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a configuration shows of its runs. `ended` is the latest that has ended by itself."""

    configuration_id: str
    organisation: str
    last: LastRunView | None = None
    ended: LastRunView | None = None
    recovery_point: RecoveryPointView | None = None
    refused: RefusedView | None = None
    tiers: dict[str, TierRecord] = msgspec.field(default_factory=dict)

    def refuse(self, event: BackupRefused) -> None:
        """Take over that what a schedule has asked for was not taken on."""
        if event.due_at is not None:
            self._miss(event.due_at, event.code, event.hint)

    def _miss(self, due_at: datetime, code: str, hint: str) -> None:
        if self.refused is None or due_at >= self.refused.due_at:
            self.refused = RefusedView(due_at, code, hint)

    def apply(self, run: ExecutionView) -> None:
        """Take over where a run stands now; runs may overlap, so the later start counts, not the later fact."""
        shown = LastRunView(
            run.execution_id,
            run.state,
            run.degraded,
            run.accepted_at,
            run.finished_at,
            run.error.code if run.error is not None else run.degraded_code,
            run.began,
            run.ended,
        )
        if self.last is None or run.began >= self.last.began:
            self.last = shown
        # Of one that was cancelled nothing follows: the configuration is as it was.
        has_ended = run.finished_at is not None and run.state != ExecutionState.CANCELLED
        if has_ended and (self.ended is None or run.ended >= self.ended.ended):
            self.ended = shown
        is_emptied = run.degraded_code == errors.SOURCE_EMPTIED.code
        if run.snapshot_id is not None and run.finished_at is not None and not is_emptied:
            self._protect(run, run.snapshot_id, run.finished_at)
        if run.due_at is not None and run.error is not None and run.error.code == errors.SCHEDULE_MISSED.code:
            self._miss(run.due_at, run.error.code, run.error.hint)
        for tier, state in run.tiers.items():
            self._judge(self.tiers.setdefault(tier, TierRecord()), state)

    def _protect(self, run: ExecutionView, snapshot_id: str, at: datetime) -> None:
        known = self.recovery_point
        if known is None or run.ended >= known.ended:
            self.recovery_point = RecoveryPointView(
                run.execution_id,
                snapshot_id,
                at,
                [tier for tier, state in run.tiers.items() if state.state == "uploaded"],
                [tier for tier, state in run.tiers.items() if state.verified],
                run.ended,
                run.configuration_version,
            )

    @staticmethod
    def _judge(record: TierRecord, state: TierView) -> None:
        if state.uploaded > record.uploaded:
            record.uploaded_at, record.uploaded = state.uploaded_at, state.uploaded
        if state.failed > record.failed:
            record.failed_at, record.code, record.failed = state.failed_at, state.failed_code, state.failed
