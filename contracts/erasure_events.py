"""What the executor announces about erasures of data subjects. Owner: executor.

States: `initializing` (accepted) → `preparing` → `erasing` → `completed`; `blocked` while something stands against it,
and `waiting` where some of it is left for later (a lock, a tier that is away, a failure): both go on by themselves.
There is no end but `completed`: an obligation does not end by a failure. `ERASURE_STATE_AFTER` says which fact leads
to which state.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated

from msgspec import Meta

from contracts.cleanup_events import GoingPoint
from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal
from contracts.sealed import Sealed

NEAR = timedelta(days=7)
"""So long before the time that the law gives is over, that is told."""
ERASED_RULE = "data-subject-erased"
"""By which rule the points of an erasure go."""
NAMED_MAX = 1000
"""So many of a kind are named in one event."""


class PrivacyLaw(Growing):
    """By which law somebody asks, which says how long it may take: a month, or 45 days."""

    GDPR = "gdpr"
    CCPA = "ccpa"


class ErasureState(Growing):
    """Where an erasure is."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    BLOCKED = "blocked"
    ERASING = "erasing"
    WAITING = "waiting"
    COMPLETED = "completed"


class Obstacle(Value, frozen=True, kw_only=True):
    """One thing that stands against an erasure. `code`: of the catalogue; `about`: its id, or its name on the tiers.

    `until`: when it is over by itself; None where somebody has to end it, or nobody knows.
    """

    code: str
    about: str
    until: datetime | None = None


class PlaceErased(Value, frozen=True, kw_only=True):
    """What became of the wrapped keys at a location. `code`: why not all are gone there.

    `removed`: how many were deleted by this; `left`: how many are there still, `locked_until`: how long a lock keeps
    the last of them.
    """

    location: str
    code: str | None = None
    hint: str = ""
    removed: Annotated[int, Meta(ge=0)] = 0
    left: Annotated[int, Meta(ge=0)] = 0
    locked_until: datetime | None = None


class ErasureFact(Event, frozen=True, kw_only=True):
    """The base of what is said of an erasure that was taken on."""

    erasure_id: str


@pinned("executor.erasure-accepted.v1")
class ErasureAccepted(ErasureFact, frozen=True, kw_only=True):
    """An erasure is in the record. `deadline_at`: when the law wants it done; `configuration_ids`: the subject's own.

    `point_count`: how many recovery points they have.
    """

    request_id: str
    data_subject: Sealed
    data_subject_id: str
    law: PrivacyLaw
    received_at: datetime
    deadline_at: datetime
    configuration_ids: tuple[str, ...] = ()
    point_count: Annotated[int, Meta(ge=0)] = 0


@pinned("executor.erasure-refused.v1")
class ErasureRefused(Refusal, frozen=True, kw_only=True):
    """A requested erasure was refused."""

    erasure_id: str


@pinned("executor.erasure-preparing.v1")
class ErasurePreparing(ErasureFact, frozen=True, kw_only=True):
    """A worker has claimed the erasure. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=1)]
    worker: str


@pinned("executor.erasure-requeued.v1")
class ErasureRequeued(ErasureFact, frozen=True, kw_only=True):
    """It waits for another worker, or for what keeps workers from it; as `BackupRequeued`."""

    fence: int
    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("executor.erasure-blocked.v1")
class ErasureBlocked(ErasureFact, frozen=True, kw_only=True):
    """Nothing was destroyed, since these stand against it; it is looked again by itself.

    `possible_at`: when all of them are over by themselves; None where that takes a person, or nobody knows.
    """

    obstacles: tuple[Obstacle, ...]
    possible_at: datetime | None = None


@pinned("executor.erasure-resumed.v1")
class ErasureResumed(ErasureFact, frozen=True, kw_only=True):
    """It waits for a worker again: what stood against it is over, or what was left is tried once more."""


@pinned("executor.erasure-begun.v1")
class ErasureBegun(ErasureFact, frozen=True, kw_only=True):
    """The keys are destroyed from now on, and nobody turns back: a hold that is placed now comes too late.

    `key_ids`: those of the repository domain; none where nothing was ever saved in it.
    """

    key_ids: tuple[str, ...] = ()


@pinned("executor.recovery-points-erased.v1", taken_by=("recovery--forget-erased-points",))
class RecoveryPointsErased(ErasureFact, frozen=True, kw_only=True):
    """These points are gone: on no tier that answers is there a key that opens them."""

    points: tuple[GoingPoint, ...]


@pinned("executor.data-subject-erased.v1")
class DataSubjectErased(ErasureFact, frozen=True, kw_only=True):
    """The subject's key is destroyed, so that no sealed field of it opens any more, and so are the domain's keys.

    `is_complete`: at every location. Otherwise `erased_places` say what is left, and it goes on. `receipt`: what
    the repository's key has signed (`repo verify-receipt`), to the byte; None where it has no keys of the domain.
    """

    is_complete: bool
    erased_places: tuple[PlaceErased, ...] = ()
    receipt: str | None = None
    possible_at: datetime | None = None


@pinned("executor.erasure-put-off.v1")
class ErasurePutOff(ErasureFact, frozen=True, kw_only=True):
    """An attempt has failed; another one follows by itself."""

    code: str
    hint: str = ""


@pinned("executor.erasure-deadline-near.v1")
class ErasureDeadlineNear(ErasureFact, frozen=True, kw_only=True):
    """It is not complete, and has to be by `deadline_at`, within days."""

    deadline_at: datetime


@pinned("executor.erasure-overdue.v1")
class ErasureOverdue(ErasureFact, frozen=True, kw_only=True):
    """It is not complete, and had to be."""

    deadline_at: datetime


@pinned("executor.erasure-applied-again.v1")
class ErasureAppliedAgain(ErasureFact, frozen=True, kw_only=True):
    """A key that was destroyed was there again, from an older copy of the keys folder, and is destroyed again."""


ERASURE_STATE_AFTER: Mapping[type[Event], ErasureState] = {
    ErasureAccepted: ErasureState.INITIALIZING,
    ErasurePreparing: ErasureState.PREPARING,
    ErasureRequeued: ErasureState.INITIALIZING,
    ErasureBlocked: ErasureState.BLOCKED,
    ErasureResumed: ErasureState.INITIALIZING,
    ErasureBegun: ErasureState.ERASING,
    ErasurePutOff: ErasureState.WAITING,
}
"""Where each fact leaves an erasure, but for `DataSubjectErased`, which says it itself; others leave it where it is."""


def erasure_state_after(event: Event) -> ErasureState | None:
    """Where a fact leaves an erasure; None where it leaves it where it was."""
    if isinstance(event, DataSubjectErased):
        return ErasureState.COMPLETED if event.is_complete else ErasureState.WAITING
    return ERASURE_STATE_AFTER.get(type(event))
