"""Controls that people's word, plans, retention and approvals decide: what passes, what breaks each of them."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from contracts.approval_events import ApprovalAsked, ApprovalGranted
from contracts.attestations import AttestationKind as Kind
from contracts.cleanup_events import GoingPoint, RecoveryPointsForgotten, RetentionCleanedUp
from contracts.compliance_events import AttestationRecorded
from contracts.config_events import ConfigurationCreated, ConfigurationRetired, RetentionPolicyCreated
from contracts.config_events import ConfigurationUpdated as Updated
from contracts.configuration import Destination, StorageDestinations
from contracts.dr_events import DrPlanCreated, DrPlanUpdated
from contracts.dr_execution_events import DrExecutionCompleted, DrExecutionStarted, DrStepApproved, DrTestStarted
from contracts.erasure_events import DataSubjectErased, ErasureAccepted, PrivacyLaw
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import ConfigurationChangeSubmitted
from contracts.recovery_events import RecoveryCompleted, RecoveryVerified
from contracts.samples import sample_event
from contracts.schedule import Schedule
from contracts.storage_requests import ErasureRequested
from contracts.validation_events import RecoveryPointCorrupted, RecoveryPointVerified, RecoveryValidationAccepted
from tests.unit.compliance.test_controls import (
    CREATED,
    DAY,
    FAIL,
    HOUR,
    NO_EVIDENCE,
    NOW,
    PASS,
    History,
    body,
    found,
    made,
)

YEAR = timedelta(days=367)
LONG_AGO = timedelta(days=100)


def said(kind: Kind, *about: str, **fields: Any) -> AttestationRecorded:
    """Somebody's word."""
    fields = {"attested_by": "user:u2", "holds": True, "happened_at": None} | fields
    return msgspec.structs.replace(sample_event(AttestationRecorded), kind=kind, about=about, **fields)


def _destinations(**lock: int) -> StorageDestinations:
    return StorageDestinations(**{tier: Destination(location=tier, lock_days=days) for tier, days in lock.items()})


def _saves(**fields: Any) -> ConfigurationCreated:
    return made(ConfigurationCreated, body=body(**fields))


HERE = _saves(storage_destinations=_destinations(local=0, offsite=0))
PLAIN = _saves(is_wedding_critical=False)
ALONE = made(Updated, version=2, body=body(storage_destinations=_destinations(local=0)))
CHANGE = sample_event(ConfigurationChangeSubmitted)
CHANGED = made(Updated, version=2, request_id=CHANGE.request_id)
PLAN = sample_event(DrPlanCreated)
PLANNED = made(
    DrPlanCreated,
    body=msgspec.structs.replace(
        PLAN.body, scope=msgspec.structs.replace(PLAN.body.scope, configuration_ids=(CREATED.configuration_id,))
    ),
)
PLAN_CHANGED = made(DrPlanUpdated, version=2, plan_id=PLAN.plan_id)
TEST = made(DrTestStarted, execution_id="t", plan_id=PLAN.plan_id)
MINUTES = TEST.body.recovery_objectives.rto_minutes
FAST = made(DrExecutionCompleted, execution_id="t", rto_seconds=MINUTES * 60.0)
SLOW = msgspec.structs.replace(FAST, rto_seconds=MINUTES * 60 + 1.0)
ENDLESS = msgspec.structs.replace(FAST, rto_seconds=73 * 3600.0)
CORRUPTED = made(RecoveryPointCorrupted, validation_id="v")
FOUND = said(Kind.BREACH_FOUND, attestation_id="b")
ERASED = made(DataSubjectErased, erasure_id="e", is_complete=True)
RESTORED, VERIFIED = (made(kind, operation_id="o") for kind in (RecoveryCompleted, RecoveryVerified))
UNREAD = made(BackupCompleted, code=None, verified=())
READ = made(BackupCompleted, code=None, execution_id="another")
GONE = made(
    RecoveryPointsForgotten,
    points=(GoingPoint(recovery_point_id=UNREAD.execution_id, configuration_id="c", rules=("maximum-days",)),),
)
BY_HAND = made(
    RecoveryPointsForgotten,
    points=(GoingPoint(recovery_point_id="p", configuration_id="c", rules=("forgotten-elsewhere",)),),
)
LOOKED, PROVEN = (made(kind, validation_id="v") for kind in (RecoveryValidationAccepted, RecoveryPointVerified))
ASKED, GRANTED = made(ApprovalAsked, asked_by="user:u1"), made(ApprovalGranted, granted_by="user:u2")
BEGUN = made(DrExecutionStarted, started_by="user:u1")
POLICY = sample_event(RetentionPolicyCreated)
BY_POLICY = _saves(retention_policy_id=POLICY.retention_policy_id)


def _policy(**fields: Any) -> RetentionPolicyCreated:
    nothing = {"keep_daily": 0, "keep_within": None, "minimum_days": 0, "maximum_days": None}
    return made(RetentionPolicyCreated, body=msgspec.structs.replace(POLICY.body, **nothing | fields))


def _deletion(ago: timedelta) -> ErasureAccepted:
    return made(
        ErasureAccepted, erasure_id="e", law=PrivacyLaw.CCPA, received_at=NOW - ago, deadline_at=NOW - ago + 45 * DAY
    )


REGULAR = {
    "CCPA-AUD": (Kind.CYBERSECURITY_AUDIT, YEAR),
    "HIPAA-7C": (Kind.EMERGENCY_PROCEDURE, YEAR),
    "HIPAA-1D": (Kind.AUDIT_LOG_REVIEW, LONG_AGO),
    "HIPAA-312a-ii": (Kind.EMERGENCY_ACCESS_TESTED, YEAR),
    "HIPAA-316": (Kind.DOCUMENTATION_KEPT, YEAR),
    "SOX-302": (Kind.CERTIFICATION, LONG_AGO),
    "SOX-404-AC-2": (Kind.ACCESS_REVIEW, LONG_AGO),
}
OPENED: tuple[History, History] = ([(UNREAD, DAY), READ, LOOKED, PROVEN], [READ, UNREAD])
IN_TIME: tuple[History, History] = ([TEST, FAST], [TEST, SLOW])
BOTH = ("local", "offsite")
CASES: dict[str, tuple[History, History]] = {
    **{name: ([said(kind)], [(said(kind), ago)]) for name, (kind, ago) in REGULAR.items()},
    "GDPR-5e": ([made(RetentionCleanedUp, overdue=0)], [made(RetentionCleanedUp, overdue=1)]),
    **dict.fromkeys(("GDPR-5f", "HIPAA-312a-iv", "BK-4"), OPENED),
    "GDPR-19-2": (
        [(ERASED, 40 * DAY), said(Kind.RECIPIENTS_TOLD, "e")],
        [(ERASED, 40 * DAY), said(Kind.RECIPIENTS_TOLD, "another")],
    ),
    "GDPR-20": (
        [RESTORED, VERIFIED, said(Kind.PORTABILITY_DELIVERED, "o")],
        [RESTORED, said(Kind.PORTABILITY_DELIVERED, "o")],
    ),
    "GDPR-25": ([_saves(data_subject_id="ab")], [_saves(data_subject_id="ab"), made(Updated, version=2, body=body())]),
    **dict.fromkeys(("GDPR-32c", "BK-10"), IN_TIME),
    "HIPAA-72h": ([TEST, SLOW], [TEST, ENDLESS]),
    "GDPR-33": (
        [(FOUND, 90 * HOUR), (said(Kind.BREACH_DECIDED, "b", "v"), 20 * HOUR), (CORRUPTED, 90 * HOUR)],
        [(FOUND, 90 * HOUR), (said(Kind.BREACH_DECIDED, "b"), 20 * HOUR), (CORRUPTED, 90 * HOUR)],
    ),
    "GDPR-44": ([HERE, said(Kind.TRANSFER_ALLOWED, *BOTH)], [HERE, said(Kind.TRANSFER_ALLOWED, "local")]),
    "HIPAA-312e": (
        [HERE, said(Kind.ENCRYPTED_TRANSMISSION, *BOTH)],
        [HERE, (said(Kind.ENCRYPTED_TRANSMISSION, *BOTH), YEAR)],
    ),
    "CCPA-110": ([(_deletion(40 * DAY), 39 * DAY)], [(_deletion(40 * DAY), 20 * DAY)]),
    "CCPA-REC": (
        [made(ErasureRequested, request_id="r"), made(ErasureAccepted, request_id="r")],
        [made(ErasureRequested, request_id="r"), made(ErasureAccepted, request_id="another")],
    ),
    "HIPAA-7B": (
        [(PLAN, DAY), said(Kind.PLAN_APPROVED, PLAN.plan_id)],
        [(PLAN, 2 * DAY), (said(Kind.PLAN_APPROVED, PLAN.plan_id), DAY), PLAN_CHANGED],
    ),
    "HIPAA-7D": (
        [(PLAN, YEAR), TEST, said(Kind.PLAN_REVIEWED, PLAN.plan_id)],
        [(PLAN, YEAR), TEST],
    ),
    "HIPAA-7E": (
        [PLAIN, PLANNED],
        [PLAIN, PLANNED, msgspec.structs.replace(PLAIN, configuration_id="another")],
    ),
    "HIPAA-310d": (
        [(HERE, 2 * DAY), (ALONE, DAY), said(Kind.MEDIA_DISPOSED, "offsite")],
        [(HERE, 2 * DAY), (ALONE, DAY), said(Kind.MEDIA_DISPOSED, "another")],
    ),
    "SOX-404-AC-1": ([ASKED, GRANTED], [ASKED, msgspec.structs.replace(GRANTED, granted_by="user:u1")]),
    "SOX-404-CM-2": (
        [CHANGE, CHANGED, said(Kind.CHANGE_APPROVED, CHANGE.request_id)],
        [CHANGE, CHANGED, said(Kind.CHANGE_APPROVED, CHANGE.request_id, attested_by="user:u1")],
    ),
    "SOX-802": (
        [_saves(tags=("sox",), storage_destinations=_destinations(offsite=2557))],
        [_saves(data_categories=("financial",), storage_destinations=_destinations(offsite=2556))],
    ),
    "BK-2": ([_policy(keep_daily=35), BY_POLICY], [_policy(keep_daily=34), BY_POLICY]),
    "BK-3": ([GONE], [GONE, BY_HAND]),
    "BK-5": ([_policy(minimum_days=35), BY_POLICY], [_policy(keep_daily=35), BY_POLICY]),
    "BK-6": ([HERE, said(Kind.COPY_IN_ANOTHER_REGION, "offsite")], [HERE, said(Kind.COPY_IN_ANOTHER_REGION, "x")]),
    "BK-7": (
        [HERE, said(Kind.COPY_IN_ANOTHER_ACCOUNT, "offsite")],
        [HERE, said(Kind.COPY_IN_ANOTHER_ACCOUNT, "offsite", holds=False)],
    ),
}
EVIDENCE_GONE: dict[str, History] = {
    "GDPR-19-2": [(ERASED, 40 * DAY)],
    "GDPR-20": [RESTORED, VERIFIED],
    "GDPR-44": [HERE],
    "HIPAA-312e": [HERE],
    "HIPAA-7B": [PLAN],
    "HIPAA-7D": [PLAN],
    "HIPAA-310d": [(HERE, 2 * DAY), (ALONE, DAY)],
    "SOX-404-AC-1": [ASKED],
    "BK-2": [BY_POLICY],
    "BK-5": [BY_POLICY],
    "BK-6": [HERE],
    "BK-7": [HERE],
    "GDPR-32c": [TEST],
    "BK-10": [TEST],
    "HIPAA-72h": [TEST],
}
"""What is left where what decides was taken away."""


@pytest.mark.parametrize("control", CASES)
def test_control_passes_and_is_broken(control: str) -> None:
    """What is asked is a pass with its events; what breaks it is a fail that names what fails."""
    passing, failing = CASES[control]
    verdict, evidence = found(control, passing)
    assert (verdict, bool(evidence)) == (PASS, True)
    verdict, evidence = found(control, failing)
    assert (verdict, bool(evidence)) == (FAIL, True)


@pytest.mark.parametrize("control", EVIDENCE_GONE)
def test_control_without_its_evidence_has_none(control: str) -> None:
    """Though what it is about is there."""
    assert found(control, EVIDENCE_GONE[control]) == (NO_EVIDENCE, ())


@pytest.mark.parametrize("control", REGULAR)
def test_word_that_it_does_not_hold_fails(control: str) -> None:
    """The latest word counts, whichever that is."""
    kind = REGULAR[control][0]
    assert found(control, [(said(kind), DAY), said(kind, holds=False)])[0] is FAIL
    assert found(control, [(said(kind, holds=False), DAY), said(kind)])[0] is PASS


@pytest.mark.parametrize(
    ("control", "history", "verdict"),
    [
        ("GDPR-33", [(FOUND, HOUR), (CORRUPTED, HOUR)], NO_EVIDENCE),
        ("GDPR-33", [(CORRUPTED, 80 * HOUR)], FAIL),
        ("GDPR-33", [(FOUND, 80 * HOUR), said(Kind.BREACH_DECIDED, "b")], FAIL),
        ("GDPR-19-2", [(ERASED, DAY), said(Kind.RECIPIENTS_TOLD, "another")], NO_EVIDENCE),
        ("GDPR-5f", [UNREAD, GONE], NO_EVIDENCE),
        ("GDPR-5e", [(made(RetentionCleanedUp, overdue=0), 40 * DAY)], NO_EVIDENCE),
        ("SOX-404-AC-1", [GRANTED], FAIL),
        ("SOX-404-AC-1", [BEGUN, made(DrStepApproved, execution_id=BEGUN.execution_id, approved_by="user:u1")], FAIL),
        ("SOX-404-AC-1", [BEGUN, made(DrStepApproved, execution_id=BEGUN.execution_id, approved_by="user:u2")], PASS),
        ("SOX-802", [CREATED], NO_EVIDENCE),
        ("BK-2", [_saves(retention_policy_id=None, schedule=Schedule(cron="0 2 * * 1"))], FAIL),
        ("BK-2", [_saves(retention_policy_id=None)], PASS),
        ("BK-2", [_policy(keep_within="2m"), BY_POLICY], PASS),
        ("BK-2", [_policy(keep_daily=40, maximum_days=30), BY_POLICY], FAIL),
        ("GDPR-44", [HERE, made(ConfigurationRetired, version=2, body=HERE.body)], NO_EVIDENCE),
        ("GDPR-20", [RESTORED, VERIFIED, said(Kind.PORTABILITY_DELIVERED, "o", holds=False)], FAIL),
        ("HIPAA-7D", [(PLAN, DAY)], NO_EVIDENCE),
        ("HIPAA-7E", [PLAIN], NO_EVIDENCE),
        ("HIPAA-7E", [_saves(is_wedding_critical=True)], PASS),
    ],
)
def test_what_is_close_to_it_is_not_taken_for_it(control: str, history: History, verdict: object) -> None:
    """What is not due yet, is of something else, or was let go."""
    assert found(control, history)[0] is verdict
