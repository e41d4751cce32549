"""What the gateway records of requests about tiers. Owner: gateway, as of `contracts.gateway_events`."""

from datetime import datetime

from contracts.configuration import Tier
from contracts.erasure_events import PrivacyLaw
from contracts.event import Event, pinned
from contracts.gateway_events import Evidence
from contracts.sealed import Sealed
from contracts.validation_events import ValidationDepth


@pinned("gateway.storage-repair-requested.v1", taken_by=("executor--accept-storage-repair",))
class StorageRepairRequested(Event, frozen=True, kw_only=True):
    """Somebody asked for what is damaged on tiers to be made whole. `locations`: of these alone; none: of all.

    `dry_run`: to be told what is damaged and from where it can be had. `read_percent`: so many of the packs are read.
    """

    request_id: str
    repair_id: str
    evidence: Evidence
    dry_run: bool = False
    read_percent: int = 0
    locations: tuple[str, ...] = ()


@pinned("gateway.storage-optimization-requested.v1", taken_by=("executor--accept-storage-optimization",))
class StorageOptimizationRequested(Event, frozen=True, kw_only=True):
    """Somebody asked for tiers to be brought up to date and freed of waste. `dry_run`: to be told what would be."""

    request_id: str
    optimization_id: str
    evidence: Evidence
    dry_run: bool = False


@pinned("gateway.recovery-validation-requested.v1", taken_by=("recovery--accept-validation",))
class RecoveryValidationRequested(Event, frozen=True, kw_only=True):
    """An operator asked for the tiers of a recovery point to be read. `tiers`: these alone; none: all of them."""

    request_id: str
    validation_id: str
    recovery_point_id: str
    depth: ValidationDepth
    evidence: Evidence
    tiers: tuple[Tier, ...] = ()


@pinned("gateway.recovery-validation-cancellation-requested.v1", taken_by=("recovery--cancel-validation",))
class RecoveryValidationCancellationRequested(Event, frozen=True, kw_only=True):
    """An operator asked for a validation to be stopped."""

    request_id: str
    validation_id: str
    evidence: Evidence


@pinned("gateway.erasure-requested.v1", taken_by=("executor--accept-erasure",))
class ErasureRequested(Event, frozen=True, kw_only=True):
    """An owner asked for a data subject to be erased, who had asked for that at `received_at`.

    `data_subject`: who it is, under the subject's own key, with which it goes; `data_subject_id`: as configurations
    say. `configuration_ids`: those that the gateway knows to say so: the executor judges none without them.
    """

    request_id: str
    erasure_id: str
    data_subject: Sealed
    data_subject_id: str
    law: PrivacyLaw
    received_at: datetime
    evidence: Evidence
    configuration_ids: tuple[str, ...] = ()
