"""What the recovery service announces about validations: tiers read without restoring anything. Owner: recovery.

States: `initializing` (accepted) → `preparing` → `validating` → `completed`, `failed` or `cancelled`. A validation that
has completed ends with one of two facts: `RecoveryPointVerified`, where no tier that was looked at has damage, or
`RecoveryPointCorrupted`, where one has. `VALIDATION_STATE_AFTER` says which fact leads to which.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.configuration import Tier
from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal


class ValidationDepth(Growing):
    """How much is read of a tier.

    `structure`: keys, log, index, and the folders of every recovery point. `sample`: that and a share of all packs,
    chosen by chance. `whole`: every byte. Of a depth that a newer build has written nothing is concluded.
    """

    STRUCTURE = "structure"
    SAMPLE = "sample"
    WHOLE = "whole"


class ValidationState(Growing):
    """Where a validation is."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    VALIDATING = "validating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


VALIDATION_ENDED = (ValidationState.COMPLETED, ValidationState.FAILED, ValidationState.CANCELLED)


class TierWholeness(Growing):
    """What was found of a tier. `lacking`: it answers, and does not have the recovery point."""

    WHOLE = "whole"
    DAMAGED = "damaged"
    LACKING = "lacking"
    NOT_LOOKED_AT = "not-looked-at"


class TierValidated(Value, frozen=True, kw_only=True):
    """What was found at a tier of a recovery point, or at a location that was its before.

    `code`, `hint`: why it was not looked at, or not to the end. `damages`: how many objects are damaged or missing
    there. `harms_point`: without others it cannot give the recovery point back whole; null where nobody knows.
    `read_bytes` of `stored_bytes` in packs were read.
    """

    tier: str
    location: str
    verdict: TierWholeness
    code: str | None = None
    hint: str = ""
    damages: Annotated[int, Meta(ge=0)] = 0
    harms_point: bool | None = None
    read_bytes: Annotated[int, Meta(ge=0)] = 0
    stored_bytes: Annotated[int, Meta(ge=0)] = 0


class ObjectDamaged(Value, frozen=True, kw_only=True):
    """An object that is damaged, missing or not protected as it has to be. `problem`: as `repo check` calls it.

    `repairable_from`: tiers that have what `repo repair` takes to mend it; none: no tier that answered. `not_read_on`:
    those of them where that was not read, so that nobody knows whether it is whole.
    """

    tier: str
    problem: str
    object_key: str
    repairable_from: tuple[str, ...] = ()
    not_read_on: tuple[str, ...] = ()


class PointAffected(Value, frozen=True, kw_only=True):
    """A recovery point that these tiers cannot give back whole by themselves."""

    recovery_point_id: str
    tiers: tuple[str, ...]


class ValidationFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a validation that was taken on."""

    validation_id: str


class ValidationFactOfAttempt(ValidationFact, frozen=True, kw_only=True):
    """The base of what a worker says. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=0)]


@pinned("recovery.recovery-validation-accepted.v1")
class RecoveryValidationAccepted(ValidationFact, frozen=True, kw_only=True):
    """A validation is in the record and waits for a worker. `tiers`: of these alone; none: of all that may have it."""

    request_id: str
    recovery_point_id: str
    configuration_id: str
    snapshot_id: str
    depth: ValidationDepth
    tiers: tuple[Tier, ...] = ()


@pinned("recovery.recovery-validation-refused.v1")
class RecoveryValidationRefused(Refusal, frozen=True, kw_only=True):
    """A requested validation was refused."""

    validation_id: str
    recovery_point_id: str


@pinned("recovery.recovery-validation-preparing.v1")
class RecoveryValidationPreparing(ValidationFactOfAttempt, frozen=True, kw_only=True):
    """A worker has claimed the validation, and opens the tiers."""

    worker: str


@pinned("recovery.recovery-validation-requeued.v1")
class RecoveryValidationRequeued(ValidationFactOfAttempt, frozen=True, kw_only=True):
    """It waits for a worker again, for no fault of its own; as `executor.backup-requeued`."""

    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("recovery.recovery-validation-started.v1")
class RecoveryValidationStarted(ValidationFactOfAttempt, frozen=True, kw_only=True):
    """The tiers are being read."""


class ValidationEnd(ValidationFact, frozen=True, kw_only=True):
    """The base of both ends of a validation that has completed.

    `degraded`: a tier that was asked for was not looked at, or does not have the point: of it nothing is known, or it
    gives nothing. What was read is whole in tiers, and not of the point alone, for tiers share what they store.
    """

    recovery_point_id: str
    configuration_id: str
    snapshot_id: str
    depth: ValidationDepth
    tiers: tuple[TierValidated, ...]
    degraded: bool
    seconds: float = 0.0


@pinned("recovery.recovery-point-verified.v1")
class RecoveryPointVerified(ValidationEnd, frozen=True, kw_only=True):
    """At least one tier has the recovery point, and no tier that was looked at has damage that this depth shows."""


@pinned("recovery.recovery-point-corrupted.v1")
class RecoveryPointCorrupted(ValidationEnd, frozen=True, kw_only=True):
    """A tier of the recovery point has damage. What each tier says of the point itself is in `tiers`.

    `objects`: the first of the `damages` objects; `affected`: the first of the `affected_points` recovery points, as
    far as the depth shows. Of `unnamed_snapshots` more nobody here knows the recovery point: the command line made
    them.
    """

    damages: Annotated[int, Meta(ge=1)]
    objects: tuple[ObjectDamaged, ...] = ()
    affected_points: Annotated[int, Meta(ge=0)] = 0
    affected: tuple[PointAffected, ...] = ()
    unnamed_snapshots: Annotated[int, Meta(ge=0)] = 0


@pinned("recovery.recovery-validation-failed.v1")
class RecoveryValidationFailed(ValidationFact, frozen=True, kw_only=True):
    """Nothing was found out: no tier could be looked at, or none of them has the recovery point."""

    code: str
    hint: str = ""


@pinned("recovery.recovery-validation-cancelled.v1")
class RecoveryValidationCancelled(ValidationFact, frozen=True, kw_only=True):
    """Somebody had the validation stopped: nothing is said of what it had read."""

    request_id: str


@pinned("recovery.recovery-validation-cancellation-refused.v1")
class RecoveryValidationCancellationRefused(Refusal, frozen=True, kw_only=True):
    """A validation was not stopped: it has ended, or there is none of this id."""

    validation_id: str


VALIDATION_STATE_AFTER: Mapping[type[Event], ValidationState] = {
    RecoveryValidationAccepted: ValidationState.INITIALIZING,
    RecoveryValidationPreparing: ValidationState.PREPARING,
    RecoveryValidationRequeued: ValidationState.INITIALIZING,
    RecoveryValidationStarted: ValidationState.VALIDATING,
    RecoveryPointVerified: ValidationState.COMPLETED,
    RecoveryPointCorrupted: ValidationState.COMPLETED,
    RecoveryValidationFailed: ValidationState.FAILED,
    RecoveryValidationCancelled: ValidationState.CANCELLED,
}
"""Where each fact leaves a validation; other facts leave it where it is."""
