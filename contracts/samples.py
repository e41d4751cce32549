"""One whole example of every pinned event, and of progress: what the stored examples are made from.

The story is one backup: an owner submits a configuration, it is created; an operator asks for a backup, it
is accepted, runs and completes degraded, with one tier owed a catch-up. Beside it, each refusal.
Sealed fields hold what no key opens: the examples are for reading and for tests of decoding.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from contracts import config_events as config
from contracts import errors
from contracts import executor_events as executor
from contracts import gateway_events as gateway
from contracts import recovery_events as recovery
from contracts.configuration import BulkMode, Tier
from contracts.envelope import SOURCE_PREFIX, Envelope, encode_data
from contracts.event import Event, pinned_events
from contracts.notifications import ChannelBody, NotificationEvent
from contracts.progress import Progress, TierProgress
from contracts.retention import RetentionPolicyBody
from contracts.sample_values import (
    AUDITED,
    BACKUP_REQUEST,
    BEGIN,
    BODIES,
    BODY,
    CHANNEL,
    CHANNEL_BODY,
    CONFIGURATION,
    CONFIGURATION_REQUEST,
    DISASTERS,
    EVIDENCE,
    EXECUTION,
    NOTIFICATION,
    OF_EXECUTOR,
    OF_STORAGE,
    OPERATION,
    ORGANISATION,
    POLICY,
    RETENTION_POLICY,
    SNAPSHOT,
    TRACE,
    VALIDATED,
    VALIDATION,
    sealed,
)
from contracts.trial import Check, Finding, Verdict

E = TypeVar("E", bound=Event)

_RUN = f"backup-run/{EXECUTION}"
_POLICY_SUBJECT = f"retention-policy/{RETENTION_POLICY}"
_CONFIG = f"configuration/{CONFIGURATION}"

# In the order of the story: the request that it goes back to, the aggregate, its version there, and the event.
_STORY: tuple[tuple[str, str, int, Event], ...] = (
    (
        CONFIGURATION_REQUEST,
        f"request/{CONFIGURATION_REQUEST}",
        1,
        gateway.ConfigurationSubmitted(
            request_id=CONFIGURATION_REQUEST, configuration_id=CONFIGURATION, body=BODY, evidence=EVIDENCE
        ),
    ),
    (
        CONFIGURATION_REQUEST,
        _CONFIG,
        1,
        config.ConfigurationCreated(
            request_id=CONFIGURATION_REQUEST, configuration_id=CONFIGURATION, version=1, body=BODY
        ),
    ),
    (
        CONFIGURATION_REQUEST,
        _CONFIG,
        1,
        config.ConfigurationRefused(
            request_id=CONFIGURATION_REQUEST,
            configuration_id=CONFIGURATION,
            code=errors.CONFIGURATION_NAME_TAKEN.code,
            field="name",
            hint=errors.CONFIGURATION_NAME_TAKEN.hint,
        ),
    ),
    (
        BACKUP_REQUEST,
        f"request/{BACKUP_REQUEST}",
        1,
        gateway.BackupRequested(
            request_id=BACKUP_REQUEST,
            execution_id=EXECUTION,
            configuration_id=CONFIGURATION,
            configuration_version=1,
            evidence=EVIDENCE,
        ),
    ),
    (
        BACKUP_REQUEST,
        "access/0199a0f2-0000-7000-8000-0000000000d1",
        1,
        gateway.AccessDenied(code=errors.FORBIDDEN.code, route="/api/backup/execute", method="POST", repeats=3),
    ),
    (
        BACKUP_REQUEST,
        _RUN,
        1,
        executor.BackupAccepted(
            request_id=BACKUP_REQUEST,
            execution_id=EXECUTION,
            configuration_id=CONFIGURATION,
            configuration_version=1,
            execution_type=executor.ExecutionType.MANUAL,
            tiers=(Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY, Tier.OFFSITE),
            size_estimate_bytes=42_000_000_000,
        ),
    ),
    (
        BACKUP_REQUEST,
        _RUN,
        1,
        executor.BackupRefused(
            request_id=BACKUP_REQUEST,
            execution_id=EXECUTION,
            configuration_id=CONFIGURATION,
            code=errors.CONFIGURATION_UNKNOWN.code,
            hint=errors.CONFIGURATION_UNKNOWN.hint,
        ),
    ),
    (BACKUP_REQUEST, _RUN, 2, executor.BackupPreparing(execution_id=EXECUTION, fence=1, worker="worker-7c9e")),
    (BACKUP_REQUEST, _RUN, 3, executor.BackupUploading(execution_id=EXECUTION, fence=1)),
    (BACKUP_REQUEST, _RUN, 4, executor.BackupVerifying(execution_id=EXECUTION, fence=1)),
    (
        BACKUP_REQUEST,
        _RUN,
        5,
        executor.TierUploaded(
            execution_id=EXECUTION,
            tier=Tier.CLOUD_PRIMARY,
            snapshot_id=SNAPSHOT,
            log_entry=17,
            uploaded_bytes=9_663_676_416,
            objects=291,
            seconds=184.2,
        ),
    ),
    (
        BACKUP_REQUEST,
        _RUN,
        6,
        executor.TierFailed(
            execution_id=EXECUTION,
            tier=Tier.OFFSITE,
            code=errors.TIER_UNREACHABLE.code,
            hint="Check the tier's endpoint and credentials; the run catches up when it is back.",
        ),
    ),
    (
        BACKUP_REQUEST,
        _RUN,
        7,
        executor.BackupCompleted(
            execution_id=EXECUTION,
            configuration_id=CONFIGURATION,
            snapshot_id=SNAPSHOT,
            degraded=True,
            totals=executor.RunTotals(
                files=48_213,
                source_bytes=42_131_456_000,
                new_bytes=9_932_111_872,
                stored_bytes=9_663_676_416,
                unreadable_files=2,
                by_class=(
                    executor.ClassTotals(
                        content_class="photo",
                        source_bytes=41_875_931_136,
                        new_bytes=9_663_676_416,
                        stored_bytes=9_610_199_040,
                    ),
                    executor.ClassTotals(
                        content_class="document",
                        source_bytes=255_524_864,
                        new_bytes=268_435_456,
                        stored_bytes=53_477_376,
                    ),
                ),
            ),
            verified=(Tier.LOCAL, Tier.CLOUD_PRIMARY, Tier.CLOUD_SECONDARY),
            catch_ups=(executor.CatchUp(tier=Tier.OFFSITE, code=errors.TIER_UNREACHABLE.code),),
            report_digest="af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            seconds=231.7,
            code=errors.SOURCE_INCOMPLETE.code,
        ),
    ),
    (
        BACKUP_REQUEST,
        _RUN,
        7,
        executor.BackupFailed(
            execution_id=EXECUTION,
            configuration_id=CONFIGURATION,
            code=errors.REQUIRED_TIER_FAILED.code,
            hint=errors.REQUIRED_TIER_FAILED.hint,
            tier=Tier.CLOUD_PRIMARY,
        ),
    ),
    (BACKUP_REQUEST, _RUN, 3, executor.BackupRequeued(execution_id=EXECUTION, fence=1)),
)

# Examples are frozen. These were when an id was a place in the story; those that came later have it from their name.
_NUMBERED: tuple[type[Event], ...] = (
    gateway.ConfigurationSubmitted,
    config.ConfigurationCreated,
    config.ConfigurationRefused,
    gateway.BackupRequested,
    gateway.AccessDenied,
    executor.BackupAccepted,
    executor.BackupRefused,
    executor.BackupPreparing,
    executor.BackupUploading,
    executor.BackupVerifying,
    executor.TierUploaded,
    executor.TierFailed,
    executor.BackupCompleted,
    executor.BackupFailed,
    executor.BackupRequeued,
)
_PLACES = {event.NAME: place for place, event in enumerate(_NUMBERED, start=1)}

# Of an event that is not in the story: what its fields hold, by their names. Others keep their defaults.
_USUAL: dict[str, object] = {
    "request_id": "0199a0f2-0000-7000-8000-000000000003",
    "execution_id": EXECUTION,
    "configuration_id": CONFIGURATION,
    "configuration_version": 1,
    "retention_policy_id": RETENTION_POLICY,
    "mode": BulkMode.PARTIAL,
    "items": 2,
    "position": 0,
    "created": 2,
    "verdict": Verdict.PASS,
    "findings": (Finding(check=Check.TIER_WRITABLE, verdict=Verdict.PASS, tier=Tier.LOCAL),),
    "bulk_id": "0199a0f2-0000-7000-8000-000000000004",
    "body": BODY,
    "before": BODY,
    "evidence": EVIDENCE,
    "code": errors.RUN_FINISHED.code,
    "hint": errors.RUN_FINISHED.hint,
    "operation_id": OPERATION,
    "recovery_point_id": EXECUTION,
    "snapshot_id": SNAPSHOT,
    "recovery_type": recovery.RecoveryType.PARTIAL,
    "conflict_policy": recovery.ConflictPolicy.REFUSE,
    "target_location": "restored",
    "target_path": sealed(0x44),
    "target_digest": "5c0f4e1f0b8d4a6c9e2d7b3a1f6e8c90",
    "scope": sealed(0x55),
    "channel_id": CHANNEL,
    **DISASTERS,
    "notification_id": NOTIFICATION,
    "event": NotificationEvent.FAILED,
    **AUDITED,
    "attempts": 1,
    **OF_STORAGE,
    **VALIDATED,
    "fence": 1,
    "totals": recovery.RecoveryTotals(
        files=48_211,
        folders=1_204,
        bytes=42_131_456_000,
        read_from=(recovery.TierBytes(tier=Tier.LOCAL.value, bytes=9_663_676_416),),
    ),
}
_BY_TYPE: dict[object, object] = {  # And what one that is not named here holds, by its type.
    str: "0199a0f2-0000-7000-8000-0000000000e0",
    int: 1,
    float: 1.0,
    bool: True,
    datetime: BEGIN,
}
# What is called as another thing is, and is of its own type.
_OF_KIND: dict[object, object] = {
    RetentionPolicyBody: POLICY,
    ChannelBody: CHANNEL_BODY,
    **BODIES,
}


def sample_envelopes() -> dict[str, Envelope]:
    """One whole envelope of every pinned event, by its name: as in the story, or made of what is usual."""
    told = {entry[3].NAME: _envelope(*entry) for entry in _STORY}
    return {name: told.get(name) or _envelope(*_usual(cls)) for name, cls in pinned_events().items()}


def sample_event(cls: type[E]) -> E:
    """An example of an event."""
    event = next((entry[3] for entry in _STORY if type(entry[3]) is cls), None) or _usual(cls)[3]
    assert isinstance(event, cls)  # noqa: S101  # for the types
    return event


def _usual(cls: type[Any]) -> tuple[str, str, int, Event]:
    """An event that is in no story, of the usual run or request. Raises TypeError where a field needs one."""
    fields = msgspec.structs.fields(cls)
    needed = {field.name: _BY_TYPE[field.type] for field in fields if field.required and field.type in _BY_TYPE}
    usual = {field.name: _USUAL[field.name] for field in fields if field.name in _USUAL}
    own = {field.name: _OF_KIND[field.type] for field in fields if field.type in _OF_KIND}
    event: Event = cls(**needed | usual | own)
    request = str(_USUAL["request_id"])
    of_config = _POLICY_SUBJECT if "retention_policy_id" in needed | usual else _CONFIG
    if "channel_id" in needed | usual:
        is_one = issubclass(cls, config.NotificationFact)
        of_config = f"notification/{NOTIFICATION}" if is_one else f"notification-channel/{CHANNEL}"
    is_validation = "validation_id" in needed | usual
    subjects = {
        "gateway": f"request/{request}",
        "config": of_config,
        "recovery": f"recovery-validation/{VALIDATION}" if is_validation else f"recovery-operation/{OPERATION}",
        "compliance": f"attestation/{AUDITED['attestation_id']}"
        if "attestation_id" in usual
        else f"compliance-audit/{AUDITED['audit_id']}",
        "dr": f"dr-execution/{EXECUTION}" if "execution_id" in usual else f"plan/{DISASTERS['plan_id']}",
    }
    of_executor = next(
        (f"{noun}/{identity}" for field, noun, identity in OF_EXECUTOR if field in needed | usual),
        _RUN,
    )
    return request, subjects.get(event.NAME.partition(".")[0], of_executor), 2, event


def _envelope(request: str, subject: str, version: int, event: Event) -> Envelope:
    owner = event.NAME.partition(".")[0]
    place = _place(event.NAME)
    return Envelope(
        specversion="1.0",
        id=_event_id(place),
        source=f"{SOURCE_PREFIX}{owner}",
        type=event.NAME,
        subject=subject,
        time=BEGIN + timedelta(seconds=place % 3600),
        datacontenttype="application/json",
        organisation=ORGANISATION,
        actor=f"service:{owner}"
        if owner in ("executor", "recovery", "compliance", "dr")
        else "user:0199a0f2-0000-7000-8000-0000000000b1",
        sequence=version,
        correlationid=request,
        causationid=None if owner == "gateway" else _event_id(_first(request)),
        traceparent=f"00-{TRACE}-{place:016x}-01",
        data=encode_data(event),
    )


def _place(name: str) -> int:
    """A number that an event's name has for good: nothing changes when another is added."""
    return _PLACES.get(name) or 1000 + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])


def _event_id(place: int) -> str:
    number = f"e{place:03d}" if place in _PLACES.values() else f"e{place:x}"
    return f"0199a0f2-0000-7000-8000-{number:0>12}"


def _first(request: str) -> int:
    """The place of the request itself."""
    asked = (entry[3].NAME for entry in _STORY if entry[0] == request and entry[3].NAME.startswith("gateway."))
    return _place(next(asked, request))


def sample_progress() -> Progress:
    """An example of what is published on a run's progress subject."""
    return Progress(
        execution_id=EXECUTION,
        organisation=ORGANISATION,
        time=BEGIN + timedelta(seconds=60),
        phase="backing_up",
        files_done=12_400,
        files_total=48_213,
        bytes_done=10_737_418_240,
        bytes_total=42_131_456_000,
        bytes_per_second=228_589_568.0,
        eta_seconds=137.3,
        tiers=(
            TierProgress(tier=Tier.LOCAL, state="uploading", uploaded_bytes=2_465_792_000),
            TierProgress(tier=Tier.OFFSITE, state="behind", uploaded_bytes=1_006_632_960, queued_bytes=1_459_159_040),
        ),
    )
