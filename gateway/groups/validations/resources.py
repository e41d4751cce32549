"""What the API takes to validate a recovery point, and what is and was found."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from contracts.configuration import Tier
from contracts.progress import Progress
from contracts.validation_events import (
    ObjectDamaged,
    PointAffected,
    TierValidated,
    ValidationDepth,
    ValidationState,
)
from gateway.http.fields import Timestamp, Uuid
from gateway.http.resources import Body, Resource
from gateway.runs.resources import Waiting


class NewValidation(Body, frozen=True, kw_only=True):
    """A validation: the tiers of a recovery point are read, and nothing is restored or changed.

    `depth`: `structure` (keys, log, index, all folders), `sample` (and 5 % of the packs, chosen by chance), `whole`
    (every byte). `tiers`: of these alone; without any, all where the configuration puts or has put it.
    """

    recovery_point_id: Uuid
    depth: ValidationDepth = ValidationDepth.SAMPLE
    tiers: Annotated[tuple[Tier, ...], Meta(max_length=len(Tier))] = ()


class ValidationVerdict(StrEnum):
    """What a validation that has completed has found: `whole`, where no tier that was looked at has damage."""

    WHOLE = "whole"
    DAMAGED = "damaged"


class ValidationResult(Resource, frozen=True, kw_only=True):
    """What was found. `tiers`: of each tier, what it shows, and why one was not looked at.

    `objects`: the first 400 of the `damages` objects that are damaged or missing, with the tiers from which
    `repo repair` mends them; `affected`: the first 400 of the `affectedPoints` recovery points that a tier cannot give
    back whole by itself, as far as the depth shows. `unnamedSnapshots`: such ones that no run has made.
    """

    verdict: ValidationVerdict
    tiers: list[TierValidated]
    damages: int
    objects: list[ObjectDamaged]
    affected_points: int
    affected: list[PointAffected]
    unnamed_snapshots: int
    read_bytes: int
    seconds: float


class ValidationError(Resource, frozen=True, kw_only=True):
    """Why a validation failed: nothing was found out."""

    code: str
    title: str
    hint: str


class RecoveryValidation(Resource, frozen=True, kw_only=True):
    """One validation. `degraded`: a tier was not looked at, or does not have the recovery point.

    `startedAt`: when it was accepted; `attempts`: how often a worker has claimed it, which begins to read anew.
    """

    id: str
    version: int
    recovery_point_id: str
    configuration_id: str
    depth: ValidationDepth
    tiers: list[Tier]
    request_id: str
    initiated_by: str
    state: ValidationState
    degraded: bool
    started_at: Timestamp
    finished_at: Timestamp | None
    attempts: int
    result: ValidationResult | None
    error: ValidationError | None
    waiting: Waiting | None


class RecoveryValidationView(RecoveryValidation, frozen=True, kw_only=True):
    """The same with its progress (packs as `filesDone`); null where no worker has reported yet, or it has ended."""

    progress: Progress | None
