"""What the recovery service announces about restores. Owner: recovery.

States: `initializing` (accepted) → `preparing` → `recovering` → `completed` (perhaps degraded), `failed` or
`cancelled`. What is written is read back from the target's medium as it goes: there is no phase of its own for that,
and `RecoveryVerified` comes right before the end. `RECOVERY_STATE_AFTER` says which fact leads to which.

A recovery point is what a run has made that has completed; it has the run's id.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.configuration import LocationName
from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal
from contracts.sealed import Sealed

TARGET_PATH_FIELD = "recovery.target-path"
SCOPE_FIELD = "recovery.scope"
"""Under which names the two are sealed; the scope as lines."""
TARGET_DIGEST = "recovery.target"
"""The purpose of the keyed digest of location and path, a line each."""
UNMATCHED = "unmatched"
"""The reason under which the paths of a scope are counted that match nothing."""


class RecoveryState(Growing):
    """Where a recovery is. One that a newer build has written is shown as `unknown`."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    RECOVERING = "recovering"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


RECOVERY_ENDED = (RecoveryState.COMPLETED, RecoveryState.FAILED, RecoveryState.CANCELLED)


class RecoveryType(Growing):
    """How much of a recovery point is restored."""

    FULL = "full"
    PARTIAL = "partial"


class ConflictPolicy(Growing):
    """What is done where something is in the way.

    `refuse`: the target has to be empty or absent, or hold what an interrupted recovery of the same point left there.
    `skip`: it stays. `overwrite`: it is replaced, whole file by whole file. `rename`: what is restored
    gets another name.
    """

    REFUSE = "refuse"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    RENAME = "rename"


class TroubleCount(Value, frozen=True, kw_only=True):
    """How many entries are not as they were, for one reason (`damaged`, `owner`, `skipped` …).

    Of the reason `unmatched`: how many paths of the scope match nothing in the recovery point.
    """

    reason: str
    entries: int


class TierBytes(Value, frozen=True, kw_only=True):
    """What was read of one tier. `tier`: its name in the configuration, or the location's where it has none there."""

    tier: str
    bytes: int


class RecoveryTotals(Value, frozen=True, kw_only=True):
    """What a recovery has written. `resumed_files` were there from an attempt that was interrupted."""

    files: int
    folders: int
    bytes: int
    resumed_files: int = 0
    renamed: int = 0
    read_from: tuple[TierBytes, ...] = ()
    troubles: tuple[TroubleCount, ...] = ()


class RecoveryFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a recovery."""

    operation_id: str


class RecoveryFactOfAttempt(RecoveryFact, frozen=True, kw_only=True):
    """The base of what a worker says. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=0)]


@pinned("recovery.recovery-accepted.v1", taken_by=("executor--note-recovery-begun",))
class RecoveryAccepted(RecoveryFact, frozen=True, kw_only=True):
    """A recovery is in the record and waits for a worker (`initializing`). Sealed are path and scope of the target."""

    request_id: str
    recovery_point_id: str
    configuration_id: str
    snapshot_id: str
    recovery_type: RecoveryType
    target_location: LocationName
    target_path: Sealed
    conflict_policy: ConflictPolicy
    scope: Sealed | None = None


@pinned("recovery.recovery-refused.v1", taken_by=("dr--note-recovery-refused",))
class RecoveryRefused(Refusal, frozen=True, kw_only=True):
    """A requested recovery was refused; nothing was written."""

    operation_id: str
    recovery_point_id: str


@pinned("recovery.recovery-preparing.v1")
class RecoveryPreparing(RecoveryFactOfAttempt, frozen=True, kw_only=True):
    """A worker has claimed the recovery and looks at target, keys and tiers (`preparing`)."""

    worker: str


@pinned("recovery.recovery-requeued.v1")
class RecoveryRequeued(RecoveryFactOfAttempt, frozen=True, kw_only=True):
    """A recovery waits for a worker again, for no fault of its own (`initializing`).

    `code`, `hint`, `next_attempt_at`: as of `executor.backup-requeued`. The target is marked as incomplete meanwhile.
    """

    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("recovery.recovery-started.v1")
class RecoveryStarted(RecoveryFactOfAttempt, frozen=True, kw_only=True):
    """The target is being written to (`recovering`); it has the mark of an unfinished restore until the end."""


@pinned("recovery.recovery-verified.v1")
class RecoveryVerified(RecoveryFact, frozen=True, kw_only=True):
    """What was restored is what was backed up: each byte was read back from the target and is of its chunk's id."""

    recovery_point_id: str
    snapshot_id: str
    files: int
    bytes: int


@pinned("recovery.recovery-completed.v1", taken_by=("executor--note-recovery-completed", "dr--note-recovery-completed"))
class RecoveryCompleted(RecoveryFact, frozen=True, kw_only=True):
    """All that was asked for is in the target, durable and verified.

    `degraded`: bytes are whole, and some attributes (an owner, a time) could not be set, or the snapshot lacks entries
    that could not be read when it was made (`missing_in_point`), or paths of the scope match nothing; `code` says so,
    the counts in `totals` by reason.
    """

    recovery_point_id: str
    configuration_id: str
    totals: RecoveryTotals
    degraded: bool = False
    missing_in_point: int = 0
    seconds: float = 0.0
    code: str | None = None


@pinned("recovery.recovery-failed.v1", taken_by=("executor--note-recovery-failed", "dr--note-recovery-failed"))
class RecoveryFailed(RecoveryFact, frozen=True, kw_only=True):
    """The recovery has ended without all that was asked for. `totals`: what there is, where that is known.

    A target that keeps the mark of an unfinished restore is gone on with by the same recovery, asked for anew.
    """

    recovery_point_id: str
    configuration_id: str
    code: str
    hint: str = ""
    totals: RecoveryTotals | None = None


@pinned("recovery.recovery-cancelled.v1", taken_by=("executor--note-recovery-cancelled", "dr--note-recovery-cancelled"))
class RecoveryCancelled(RecoveryFact, frozen=True, kw_only=True):
    """Somebody had the recovery stopped. The target keeps the mark of an unfinished restore, and what is there."""

    request_id: str
    configuration_id: str


@pinned("recovery.recovery-cancellation-refused.v1")
class RecoveryCancellationRefused(Refusal, frozen=True, kw_only=True):
    """A recovery was not stopped: it has ended, or there is none of this id."""

    operation_id: str


RECOVERY_STATE_AFTER: Mapping[type[Event], RecoveryState] = {
    RecoveryAccepted: RecoveryState.INITIALIZING,
    RecoveryPreparing: RecoveryState.PREPARING,
    RecoveryRequeued: RecoveryState.INITIALIZING,
    RecoveryStarted: RecoveryState.RECOVERING,
    RecoveryCompleted: RecoveryState.COMPLETED,
    RecoveryFailed: RecoveryState.FAILED,
    RecoveryCancelled: RecoveryState.CANCELLED,
}
"""Where each fact leaves a recovery; other facts leave it where it is."""
