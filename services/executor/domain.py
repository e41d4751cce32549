"""The aggregate of the executor: one attempt to copy one source to its tiers.

States: `initializing` → `preparing` → `backing_up` → `verifying` → `completed` or `failed`; or `refused` at once;
or, whatever it was at, `cancelled`.
A takeover leads from any running state back to `preparing`, under a higher fence; a worker that stops gives the run
back, to `initializing`. What an earlier fence has done
for a tier stays true: what is committed on a tier is committed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import msgspec

from chassis.domain import Aggregate
from contracts import errors
from contracts.configuration import Tier
from contracts.event import Event
from contracts.executor_events import (
    ENDED,
    STATE_AFTER,
    BackupAccepted,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupRefused,
    BackupRequeued,
    BackupUploading,
    BackupVerifying,
    CatchUp,
    ConfigurationTested,
    ConfigurationTestRefused,
    ExecutionState,
    ExecutionType,
    RunTotals,
    TierFailed,
    TierRoom,
    TierUploaded,
)
from contracts.gateway_events import BackupCancellationRequested
from services.executor.errors import ClaimLost, RunFinished

REFUSED = "refused"
"""Where a run stands that was never taken on: nobody is told of it as a run."""


class BackupRun(Aggregate):
    """One attempt to copy one source to its tiers."""

    KIND: ClassVar[str] = "executor.backup-run"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: ExecutionState | str | None = None
        self.configuration_id = ""
        self.configuration_version = 0
        self.fence = 0
        self.tiers: tuple[Tier, ...] = ()
        self.uploaded: dict[Tier, str] = {}
        self.failed: dict[Tier, str] = {}
        self.snapshot_id: str | None = None
        self.is_urgent = False
        self.due_at: datetime | None = None
        self.has_copied = False
        self.follow_up = 0
        self.has_point = False
        self.has_proven_point = False

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to this run."""
        return self.state in (*ENDED, REFUSED)

    def accept(
        self,
        *,
        request_id: str,
        configuration_id: str,
        configuration_version: int,
        execution_type: ExecutionType,
        tiers: Sequence[Tier],
        retry_of: str | None = None,
        due_at: datetime | None = None,
        is_urgent: bool = False,
        size_estimate_bytes: int | None = None,
        follow_up: int = 0,
        has_point: bool = False,
        has_proven_point: bool = False,
    ) -> None:
        """Take the run on; a worker will claim it, an urgent one before the organisation's others.

        `has_point`, `has_proven_point`: what those that it follows by itself have made.
        """
        self.record(
            BackupAccepted(
                request_id=request_id,
                execution_id=self.id,
                configuration_id=configuration_id,
                configuration_version=configuration_version,
                execution_type=execution_type,
                tiers=tuple(tiers),
                retry_of=retry_of,
                due_at=due_at,
                is_urgent=is_urgent,
                size_estimate_bytes=size_estimate_bytes,
                follow_up=follow_up,
                has_point=has_point,
                has_proven_point=has_proven_point,
            )
        )

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed the run. A fence that is not higher than the last is a zombie's."""
        self._refuse_when_finished()
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(BackupPreparing(execution_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """The worker gives the run back unfinished: it waits for another, or for what kept it from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            BackupRequeued(execution_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at)
        )

    def upload(self, *, fence: int) -> None:
        """Source, tiers and keys are usable; reading begins."""
        self._refuse_when_not_mine(fence)
        self.record(BackupUploading(execution_id=self.id, fence=fence))

    def tier_uploaded(
        self,
        *,
        fence: int,
        tier: Tier,
        snapshot_id: str,
        log_entry: int,
        uploaded_bytes: int,
        objects: int,
        seconds: float,
        room: TierRoom | None = None,
    ) -> None:
        """A tier has committed the snapshot. Told once per tier: a takeover finds what the first attempt committed."""
        self._refuse_when_not_mine(fence)
        if self.uploaded.get(tier) == snapshot_id:
            return
        self.record(
            TierUploaded(
                execution_id=self.id,
                tier=tier,
                snapshot_id=snapshot_id,
                log_entry=log_entry,
                uploaded_bytes=uploaded_bytes,
                objects=objects,
                seconds=seconds,
                room=room,
            )
        )

    def tier_failed(self, *, fence: int, tier: Tier, code: str, hint: str) -> None:
        """A tier does not have the snapshot."""
        self._refuse_when_not_mine(fence)
        self.record(TierFailed(execution_id=self.id, tier=tier, code=code, hint=hint))

    def verify(self, *, fence: int) -> None:
        """The tiers have acknowledged; reading back begins."""
        self._refuse_when_not_mine(fence)
        self.record(BackupVerifying(execution_id=self.id, fence=fence))

    def complete(
        self,
        *,
        fence: int,
        snapshot_id: str,
        totals: RunTotals,
        verified: Sequence[Tier],
        catch_ups: Sequence[CatchUp],
        report_digest: str | None,
        seconds: float,
        is_report_lost: bool = False,
        is_emptied: bool = False,
        follow_up_at: datetime | None = None,
    ) -> None:
        """The snapshot is on every required tier and was verified there.

        Degraded where anything is missing in it, or may be: what a lost report would have named, and all of a source
        that held files before.
        """
        self._refuse_when_not_mine(fence)
        lacks = errors.SOURCE_INCOMPLETE if totals.unreadable_files else errors.SOURCE_EMPTIED if is_emptied else None
        completed = BackupCompleted(
            execution_id=self.id,
            configuration_id=self.configuration_id,
            snapshot_id=snapshot_id,
            degraded=lacks is not None or is_report_lost or bool(catch_ups),
            totals=totals,
            verified=tuple(verified),
            catch_ups=tuple(catch_ups),
            report_digest=report_digest,
            seconds=seconds,
            code=None if lacks is None else lacks.code,
            follow_up_at=follow_up_at,
        )
        # The first point of its night, and the first that is proven, count, whoever has asked for them.
        is_catch_up = self.has_proven_point if completed.is_proven else self.has_point
        self.record(msgspec.structs.replace(completed, is_catch_up=is_catch_up))

    def fail(
        self,
        *,
        fence: int,
        code: str,
        hint: str,
        tier: Tier | None = None,
        report_digest: str | None = None,
        follow_up_at: datetime | None = None,
    ) -> None:
        """The run has ended without a snapshot on every required tier."""
        self._refuse_when_not_mine(fence)
        self.record(
            BackupFailed(
                execution_id=self.id,
                configuration_id=self.configuration_id,
                code=code,
                hint=hint,
                tier=tier,
                report_digest=report_digest,
                follow_up_at=follow_up_at,
            )
        )

    def cancel(self, request: BackupCancellationRequested) -> None:
        """Whoever performs the run is to stop; what it has committed on a tier is there as a whole."""
        self._refuse_when_finished()
        self.record(
            BackupCancelled(request_id=request.request_id, execution_id=self.id, configuration_id=self.configuration_id)
        )

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = STATE_AFTER.get(type(event), self.state)
        match event:
            case BackupAccepted():
                self.is_urgent = event.is_urgent
                self.configuration_id = event.configuration_id
                self.configuration_version = event.configuration_version
                self.tiers = event.tiers
                self.due_at = event.due_at
                self.follow_up = event.follow_up
                self.has_point = event.has_point
                self.has_proven_point = event.has_proven_point
            case BackupUploading():
                self.has_copied = True
            case BackupRefused():
                self.state = REFUSED
                self.configuration_id = event.configuration_id
            case BackupPreparing(fence=fence):
                self.fence = fence
            case TierUploaded(tier=tier, snapshot_id=snapshot_id):
                self.uploaded[tier] = snapshot_id
                self.failed.pop(tier, None)
            case TierFailed(tier=tier, code=code):
                self.failed[tier] = code
            case BackupCompleted():
                self.snapshot_id = event.snapshot_id
                self.has_point |= event.is_recovery_point
                self.has_proven_point |= event.is_proven

    def _refuse_when_finished(self) -> None:
        if self.is_finished:
            raise RunFinished(self.id, str(self.state))

    def _refuse_when_not_mine(self, fence: int) -> None:
        self._refuse_when_finished()
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)


class ConfigurationTest(Aggregate):
    """One look whether a configuration would be backed up. Its id is that of the request."""

    KIND: ClassVar[str] = "executor.configuration-test"

    def __init__(self, id: str) -> None:  # noqa: A002  # as above
        super().__init__(id)
        self.is_over = False

    def apply(self, event: Event) -> None:
        """It has one event, whatever that says."""
        self.is_over = isinstance(event, ConfigurationTested | ConfigurationTestRefused)
