"""Every control that is evaluated: what passes, what breaks it, and that without evidence it never passes."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from contracts import errors
from contracts.cleanup_events import GoingPoint
from contracts.compliance_events import EVIDENCE_MAX
from contracts.config_events import BackupFellDue, BackupMissed, ConfigurationCreated, ConfigurationRetired
from contracts.config_events import ConfigurationUpdated as Updated
from contracts.configuration import StorageDestinations
from contracts.controls import CONTROLS, ControlVerdict, Framework
from contracts.disaster import StepOutcome
from contracts.dr_execution_events import (
    DrExecutionCompleted,
    DrExecutionFailed,
    DrRecoveryAsked,
    DrStepEnded,
    DrTestStarted,
)
from contracts.erasure_events import DataSubjectErased, ErasureAccepted, PrivacyLaw, RecoveryPointsErased
from contracts.event import Event
from contracts.executor_events import BackupCompleted, BackupFailed
from contracts.gateway_events import ConfigurationChangeSubmitted, RecoveryRequested
from contracts.recovery_events import RecoveryAccepted, RecoveryCompleted, RecoveryFailed, RecoveryVerified
from contracts.sample_values import sealed
from contracts.samples import sample_event
from contracts.schedule import Schedule
from services.compliance.controls.audit import EVALUATORS, audited, read_by
from services.compliance.controls.facts import Facts, LogStanding, Seen

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
WHOLE = LogStanding(10, bytes(32), 3)
EMPTY = LogStanding(0, None, 0)
PASS, FAIL, NO_EVIDENCE = ControlVerdict.PASS, ControlVerdict.FAIL, ControlVerdict.NO_EVIDENCE
E = TypeVar("E", bound=Event)
History = Sequence[Event | tuple[Event, timedelta] | tuple[Event, timedelta, str]]


def made(kind: type[E], **fields: Any) -> E:
    """An event with these fields."""
    return msgspec.structs.replace(sample_event(kind), **fields)


def body(**fields: Any) -> Any:
    """What a configuration says: all that is asked of one, but for these fields."""
    known = msgspec.structs.replace(
        sample_event(ConfigurationCreated).body,
        purpose=sealed(1),
        data_categories=("photos",),
        retention_policy_id="p",
        schedule=Schedule(cron="0 2 * * *", time_zone="Europe/Berlin"),
    )
    return msgspec.structs.replace(known, **fields)


def _later(ended: DrExecutionFailed) -> DrExecutionFailed:
    """The end of another test of the same plan."""
    return msgspec.structs.replace(ended, execution_id="u")


def _two(each: Any) -> tuple[Event, timedelta]:
    return each if isinstance(each, tuple) else (each, timedelta())


def found(control: str, history: History, log: LogStanding = WHOLE) -> tuple[ControlVerdict, tuple[str, ...]]:
    """The verdict of one control, and the ids of its evidence: the places of the events."""
    seen = []
    for place, each in enumerate(history):
        event, ago, actor = each if isinstance(each, tuple) and len(each) == 3 else (*_two(each), "user:u1")
        seen.append(Seen(str(place), NOW - ago, actor, event))
    framework = CONTROLS[control].framework
    (finding,) = [each for each in audited([framework], Facts(NOW, seen, log)) if each.control == control]
    if finding.verdict is not NO_EVIDENCE:
        assert finding.evaluator == EVALUATORS[control].version
    return finding.verdict, finding.evidence


CREATED = made(ConfigurationCreated, body=body())
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
COMPLETED = made(BackupCompleted, code=None)
DUE = made(BackupFellDue, execution_id=COMPLETED.execution_id)
FAILED = sample_event(BackupFailed)
VERIFIED, RESTORED = sample_event(RecoveryVerified), sample_event(RecoveryCompleted)
NOT_RESTORED = sample_event(RecoveryFailed)
ASKED, ACCEPTED = sample_event(RecoveryRequested), sample_event(RecoveryAccepted)
WITHOUT = made(RecoveryRequested, evidence=msgspec.structs.replace(ASKED.evidence, second_factor=False))
CHANGED, CHANGE = made(Updated, version=2), sample_event(ConfigurationChangeSubmitted)

MONTH = timedelta(days=31)


def _asked_for(law: PrivacyLaw, at: datetime) -> ErasureAccepted:
    return made(ErasureAccepted, law=law, received_at=at, deadline_at=at + MONTH)


ERASED, PART = sample_event(DataSubjectErased), made(DataSubjectErased, is_complete=False)
GONE = made(
    RecoveryPointsErased,
    points=(GoingPoint(recovery_point_id=ACCEPTED.recovery_point_id, configuration_id="c", rules=()),),
)
IN_TIME = [(_asked_for(PrivacyLaw.GDPR, NOW - 20 * DAY), 20 * DAY), (PART, 19 * DAY), (ERASED, 10 * DAY)]
OVERDUE = [(_asked_for(PrivacyLaw.GDPR, NOW - 40 * DAY), 40 * DAY), (PART, 30 * DAY)]
OF_CCPA = (_asked_for(PrivacyLaw.CCPA, NOW - 40 * DAY), 40 * DAY)

TESTED, NOT_PASSED = made(DrTestStarted, execution_id="t"), made(DrExecutionFailed, execution_id="t", is_test=True)
PASSED = made(DrExecutionCompleted, execution_id="t", is_test=True, rto_seconds=60.0)
STEP = made(DrStepEnded, execution_id="t", outcome=StepOutcome.COMPLETED, code=None)
RESTORES_NOTHING = msgspec.structs.replace(TESTED.body, procedures=TESTED.body.procedures[:1])
BY_PLAN = made(DrRecoveryAsked, request_id=ACCEPTED.request_id)

CASES: dict[str, tuple[History, History]] = {
    "GDPR-30": ([CREATED], [CREATED, made(Updated, version=2, body=body(purpose=None))]),
    "CCPA-100": ([CREATED], [made(ConfigurationCreated, body=body(data_categories=()))]),
    "BK-1": ([CREATED], [made(ConfigurationCreated, body=body(schedule=None))]),
    "BK-8": (
        [CREATED],
        [
            made(
                ConfigurationCreated,
                body=body(storage_destinations=StorageDestinations(local=CREATED.body.storage_destinations.local)),
            )
        ],
    ),
    "BK-9": ([CREATED, (COMPLETED, HOUR)], [CREATED, (COMPLETED, 2 * DAY)]),
    "SOX-404-CM-1": ([CHANGE, CHANGED], [CHANGED]),
    "SOX-404-OP-1": ([DUE, COMPLETED], [(DUE, 3 * HOUR)]),
    "SOX-404-OP-2": ([(FAILED, HOUR), COMPLETED], [(COMPLETED, HOUR), FAILED]),
    "GDPR-17-1": (IN_TIME, OVERDUE),
    "GDPR-17-2": ([ACCEPTED, (RESTORED, DAY), (GONE, HOUR)], [ACCEPTED, (GONE, HOUR), RESTORED]),
    "GDPR-19-1": (IN_TIME, OVERDUE),
    "CCPA-105-1": ([OF_CCPA, (ERASED, 30 * DAY)], [OF_CCPA, (ERASED, DAY)]),
    "CCPA-105-2": ([(GONE, HOUR)], [ACCEPTED, (GONE, HOUR), RESTORED]),
    "GDPR-32d": ([TESTED, (PASSED, 80 * DAY)], [TESTED, (PASSED, 100 * DAY)]),
    "HIPAA-7A": ([NOT_RESTORED, VERIFIED, RESTORED], [VERIFIED, RESTORED, NOT_RESTORED]),
    "HIPAA-312a-i": ([ASKED], [ASKED, (CHANGE, HOUR, "service:somebody")]),
    "HIPAA-312c": ([COMPLETED], [COMPLETED, made(BackupCompleted, code=None, verified=())]),
    "HIPAA-312d": ([ASKED, ACCEPTED], [WITHOUT, ACCEPTED]),
}


@pytest.mark.parametrize("control", CASES)
def test_control_passes_and_is_broken(control: str) -> None:
    """What is asked is a pass with its events; what breaks it is a fail that names what fails."""
    passing, failing = CASES[control]
    verdict, evidence = found(control, passing)
    assert (verdict, bool(evidence)) == (PASS, True)
    verdict, evidence = found(control, failing)
    assert (verdict, bool(evidence)) == (FAIL, True)


@pytest.mark.parametrize("control", sorted(EVALUATORS))
def test_without_evidence_no_control_passes(control: str) -> None:
    """An empty log proves nothing, nor does what other controls are about."""
    assert found(control, [], EMPTY) == (NO_EVIDENCE, ())


def test_every_evaluator_has_a_case() -> None:
    """One that was never seen to fail proves nothing; and each is of a control that is declared."""
    others = (ROOT / "tests/unit/compliance/test_attested.py").read_text()
    assert {each for each in EVALUATORS if f'"{each}"' not in others} == {*CASES, "HIPAA-312b"}
    assert set(EVALUATORS) <= set(CONTROLS)
    assert set(read_by(Framework)) >= {BackupCompleted, RecoveryRequested}


@pytest.mark.parametrize("control", sorted(set(CONTROLS) - set(EVALUATORS)))
def test_control_that_nobody_evaluates_has_no_evidence(control: str) -> None:
    """Whatever there is."""
    everything = [event for passing, _ in CASES.values() for event in passing]
    assert found(control, everything) == (NO_EVIDENCE, ())


def test_log_that_was_changed_fails() -> None:
    """Of the log itself no event tells: it was read, and compared with what was signed."""
    assert found("HIPAA-312b", [], WHOLE)[0] is PASS
    assert found("HIPAA-312b", [], LogStanding(10, None, 3, "the entry 4 is missing"))[0] is FAIL


def test_change_is_not_approved_by_being_asked_for() -> None:
    """Without an approval a change fails."""
    assert found("SOX-404-CM-2", [CREATED])[0] is NO_EVIDENCE
    assert found("SOX-404-CM-2", [CHANGE, CHANGED]) == (FAIL, ("1",))


@pytest.mark.parametrize(
    ("control", "history", "verdict"),
    [
        ("GDPR-30", [CREATED, made(ConfigurationRetired, version=2, body=body(purpose=None))], NO_EVIDENCE),
        ("GDPR-30", [made(Updated, version=2, body=body()), made(ConfigurationCreated, body=body(purpose=None))], PASS),
        ("BK-9", [CREATED], FAIL),
        ("BK-9", [CREATED, made(BackupCompleted, code=errors.SOURCE_EMPTIED.code)], FAIL),
        ("BK-9", [CREATED, made(BackupCompleted, code=None, configuration_id="another")], FAIL),
        ("SOX-404-OP-1", [(DUE, HOUR)], PASS),
        ("SOX-404-OP-1", [DUE, COMPLETED, sample_event(BackupMissed)], FAIL),
        ("SOX-404-CM-1", [(CHANGE, HOUR, "service:config"), CHANGED], FAIL),
        ("HIPAA-312d", [ASKED], NO_EVIDENCE),
        ("HIPAA-312d", [ACCEPTED], FAIL),
        ("HIPAA-312d", [WITHOUT], NO_EVIDENCE),
        ("HIPAA-7A", [RESTORED], FAIL),
        ("HIPAA-312d", [BY_PLAN, ACCEPTED], FAIL),
        ("HIPAA-312d", [msgspec.structs.replace(BY_PLAN, second_factor=True), ACCEPTED], PASS),
        ("HIPAA-312d", [msgspec.structs.replace(BY_PLAN, is_test=True), ACCEPTED], PASS),
        ("GDPR-32d", [VERIFIED, RESTORED, made(DrExecutionCompleted, is_test=False)], NO_EVIDENCE),
        ("GDPR-32d", [TESTED], FAIL),
        ("GDPR-32d", [TESTED, STEP, PASSED], PASS),
        ("GDPR-32d", [TESTED, made(DrTestStarted, execution_id="u"), (PASSED, DAY), _later(NOT_PASSED)], FAIL),
        ("GDPR-32d", [TESTED, made(DrTestStarted, execution_id="u"), (_later(NOT_PASSED), DAY), PASSED], PASS),
        ("GDPR-32d", [TESTED, msgspec.structs.replace(STEP, code=errors.RECOVERY_INCOMPLETE.code), PASSED], FAIL),
        ("GDPR-32d", [TESTED, msgspec.structs.replace(STEP, code=errors.DR_NOTICE_NOT_SENT.code), PASSED], PASS),
        ("GDPR-32d", [TESTED, msgspec.structs.replace(PASSED, rto_seconds=240 * 60 + 1.0)], FAIL),
        ("GDPR-32d", [made(DrTestStarted, execution_id="t", body=RESTORES_NOTHING), PASSED], FAIL),
        ("HIPAA-312c", [(made(BackupCompleted, code=None, verified=()), 100 * DAY)], NO_EVIDENCE),
    ],
)
def test_what_is_close_to_it_is_not_taken_for_it(control: str, history: History, verdict: ControlVerdict) -> None:
    """Retired ones, versions out of order, empty sources, other configurations, restores that nobody asked for."""
    assert found(control, history)[0] is verdict


def test_restores_that_nobody_asked_for_are_named_and_no_others() -> None:
    """Where it lies among those that were asked for does not matter."""
    others = [made(kind, request_id="asked") for kind in (RecoveryRequested, RecoveryAccepted)]
    assert found("HIPAA-312d", [ACCEPTED, *others]) == (FAIL, ("0",))
    assert found("HIPAA-312d", [*others, ACCEPTED]) == (FAIL, ("2",))


def test_findings_of_everything_fit_into_an_event() -> None:
    """All frameworks, with as much evidence of each control as is told, are far below what an event may have."""
    seen: list[Seen] = []
    chosen: Callable[[int], str] = lambda number: f"0199a0f2-0000-7000-8000-{number:012d}"  # noqa: E731  # an id
    for event in [each for passing, _ in CASES.values() for each in passing] * (EVIDENCE_MAX + 5):
        told = event[0] if isinstance(event, tuple) else event
        seen.append(Seen(chosen(len(seen)), NOW, "user:u1", told))
    findings = audited(Framework, Facts(NOW, seen, WHOLE))
    assert len(findings) == len(CONTROLS)
    assert all(len(each.evidence) <= EVIDENCE_MAX for each in findings)
    assert len(msgspec.json.encode(findings)) < 64 * 1024
