"""The aggregate of a backup run: given events, when a command, then exactly these events or this refusal."""

import msgspec
import pytest

from contracts import errors
from contracts.configuration import Tier
from contracts.event import Event
from contracts.executor_events import (
    BackupAccepted,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupRefused,
    BackupRequeued,
    BackupUploading,
    BackupVerifying,
    ExecutionState,
    ExecutionType,
    RunTotals,
    TierFailed,
    TierUploaded,
)
from contracts.refusal import Objection
from services.executor.domain import BackupRun
from services.executor.errors import ClaimLost, RunFinished
from tests.support.messages import backup_requested

RUN = "run-1"
TOTALS = RunTotals(files=2, source_bytes=10, new_bytes=8, stored_bytes=6)
ACCEPTED = BackupAccepted(
    request_id="request-1",
    execution_id=RUN,
    configuration_id="configuration-1",
    configuration_version=1,
    execution_type=ExecutionType.MANUAL,
    tiers=(Tier.LOCAL, Tier.OFFSITE),
)
PREPARING = BackupPreparing(execution_id=RUN, fence=1, worker="w1")
UPLOADING = BackupUploading(execution_id=RUN, fence=1)
VERIFYING = BackupVerifying(execution_id=RUN, fence=1)
UPLOADED = TierUploaded(
    execution_id=RUN, tier=Tier.LOCAL, snapshot_id="s1", log_entry=1, uploaded_bytes=6, objects=3, seconds=0.5
)
FAILED = BackupFailed(execution_id=RUN, configuration_id="configuration-1", code="tier-full")
COMPLETED = BackupCompleted(
    execution_id=RUN,
    configuration_id="configuration-1",
    snapshot_id="s1",
    degraded=False,
    totals=TOTALS,
    verified=(Tier.LOCAL,),
    seconds=1.0,
)


def given(*events: Event) -> BackupRun:
    run = BackupRun(RUN)
    for event in events:
        run.advance(event)
    return run


def test_run_is_accepted_with_the_tiers_it_is_meant_for() -> None:
    """An accepted run waits for a worker."""
    run = BackupRun(RUN)
    run.accept(
        request_id="request-1",
        configuration_id="configuration-1",
        configuration_version=1,
        execution_type=ExecutionType.MANUAL,
        tiers=[Tier.LOCAL, Tier.OFFSITE],
    )
    assert run.pending == (ACCEPTED,)
    assert run.state is ExecutionState.INITIALIZING
    assert not run.is_finished


def test_refused_run_is_finished_at_once() -> None:
    """Nothing happens to a refused run."""
    run = BackupRun(RUN)
    request = msgspec.structs.replace(backup_requested(), request_id="r", execution_id=RUN, configuration_id="c")
    run.record(BackupRefused.of(request, Objection(errors.CONFIGURATION_UNKNOWN, "configurationId", "check the id")))
    assert run.pending == (
        BackupRefused(
            request_id="r",
            execution_id=RUN,
            configuration_id="c",
            code="configuration-unknown",
            field="configurationId",
            hint="check the id",
        ),
    )
    with pytest.raises(RunFinished):
        run.prepare(fence=1, worker="w1")


def test_whole_life_of_a_run_is_told_in_order() -> None:
    """Each step of a run is an event, and the last one says what is where."""
    run = given(ACCEPTED)
    run.prepare(fence=1, worker="w1")
    run.upload(fence=1)
    run.tier_uploaded(fence=1, tier=Tier.LOCAL, snapshot_id="s1", log_entry=1, uploaded_bytes=6, objects=3, seconds=0.5)
    run.verify(fence=1)
    run.complete(
        fence=1, snapshot_id="s1", totals=TOTALS, verified=[Tier.LOCAL], catch_ups=[], report_digest=None, seconds=1.0
    )
    assert run.pending == (PREPARING, UPLOADING, UPLOADED, VERIFYING, COMPLETED)
    assert run.snapshot_id == "s1"
    assert run.is_finished


def test_run_that_lacks_something_of_its_source_is_degraded_and_says_why() -> None:
    """A snapshot without files that were asked for is no whole backup, whatever the tiers did with it."""
    run = given(ACCEPTED, PREPARING, UPLOADING, UPLOADED, VERIFYING)
    lacking = msgspec.structs.replace(TOTALS, unreadable_files=1)
    run.complete(
        fence=1, snapshot_id="s1", totals=lacking, verified=[Tier.LOCAL], catch_ups=[], report_digest=None, seconds=1.0
    )
    told = msgspec.structs.replace(COMPLETED, totals=lacking, degraded=True, code="source-incomplete")
    assert run.pending == (told,)


@pytest.mark.parametrize(
    ("made", "unreadable", "counts"),
    [
        ((False, False), 0, True),
        ((False, False), 1, True),
        ((True, False), 1, False),
        ((True, False), 0, True),
        ((True, True), 0, False),
        ((True, True), 1, False),
    ],
)
def test_point_of_a_follow_up_counts_where_none_before_it_is_as_good(
    made: tuple[bool, bool], unreadable: int, *, counts: bool
) -> None:
    """The only one of its night, or the only one that is proven, is what a policy is there for."""
    accepted = msgspec.structs.replace(ACCEPTED, follow_up=1, has_point=made[0], has_proven_point=made[1])
    run = given(accepted, PREPARING, UPLOADING, UPLOADED, VERIFYING)
    totals = msgspec.structs.replace(TOTALS, unreadable_files=unreadable)
    run.complete(
        fence=1, snapshot_id="s1", totals=totals, verified=[Tier.LOCAL], catch_ups=[], report_digest=None, seconds=1.0
    )
    (told,) = run.pending
    assert isinstance(told, BackupCompleted)
    assert told.is_catch_up is not counts


@pytest.mark.parametrize(
    ("end", "made"),
    [
        (COMPLETED, (True, True)),
        (msgspec.structs.replace(COMPLETED, verified=()), (True, False)),
        (msgspec.structs.replace(COMPLETED, code="source-emptied"), (False, False)),
        (FAILED, (False, False)),
    ],
)
def test_run_knows_what_it_and_those_before_it_have_made(end: Event, made: tuple[bool, bool]) -> None:
    """A failed catch-up has a point before it all the same."""
    run = given(ACCEPTED, PREPARING, end)
    assert (run.has_point, run.has_proven_point) == made
    whole = msgspec.structs.replace(ACCEPTED, has_point=True, has_proven_point=True)
    run = given(whole, PREPARING, end)
    assert (run.has_point, run.has_proven_point) == (True, True)


@pytest.mark.parametrize("fence", [0, 1])
def test_claim_with_a_fence_that_was_seen_is_refused(fence: int) -> None:
    """A worker whose fence is not higher than the last one is a zombie."""
    run = given(ACCEPTED, PREPARING)
    with pytest.raises(ClaimLost):
        run.prepare(fence=fence, worker="w0")
    assert run.pending == ()


def test_takeover_begins_again_under_a_higher_fence_and_keeps_what_is_committed() -> None:
    """What the first worker committed on a tier stays true, and is not told twice."""
    run = given(ACCEPTED, PREPARING, UPLOADING, UPLOADED)
    run.prepare(fence=2, worker="w2")
    assert run.state is ExecutionState.PREPARING
    run.tier_uploaded(fence=2, tier=Tier.LOCAL, snapshot_id="s1", log_entry=1, uploaded_bytes=0, objects=0, seconds=0.1)
    assert run.pending == (BackupPreparing(execution_id=RUN, fence=2, worker="w2"),)


@pytest.mark.parametrize("step", ["upload", "verify", "fail", "tier_failed", "tier_uploaded", "complete"])
def test_zombie_can_say_nothing(step: str) -> None:
    """Whatever a worker wants to record after a takeover is refused."""
    run = given(ACCEPTED, PREPARING, BackupPreparing(execution_id=RUN, fence=2, worker="w2"))
    details: dict[str, dict[str, object]] = {
        "fail": {"code": "c", "hint": "h"},
        "tier_failed": {"tier": Tier.LOCAL, "code": "c", "hint": "h"},
        "tier_uploaded": {
            "tier": Tier.LOCAL,
            "snapshot_id": "s",
            "log_entry": 1,
            "uploaded_bytes": 0,
            "objects": 0,
            "seconds": 0.0,
        },
        "complete": {
            "snapshot_id": "s",
            "totals": TOTALS,
            "verified": [],
            "catch_ups": [],
            "report_digest": None,
            "seconds": 0.0,
        },
    }
    with pytest.raises(ClaimLost):
        getattr(run, step)(fence=1, **details.get(step, {}))
    assert run.pending == ()


@pytest.mark.parametrize("end", [FAILED, COMPLETED])
def test_ended_run_stays_ended(end: Event) -> None:
    """After its end nothing more is recorded of a run."""
    run = given(ACCEPTED, PREPARING, end)
    for step in (lambda: run.upload(fence=1), lambda: run.fail(fence=1, code="c", hint="h")):
        with pytest.raises(RunFinished):
            step()


def test_tier_that_failed_and_then_has_the_snapshot_counts_as_uploaded() -> None:
    """A second attempt that succeeds clears the failure of the first."""
    run = given(ACCEPTED, PREPARING, TierFailed(execution_id=RUN, tier=Tier.LOCAL, code="tier-full"), UPLOADED)
    assert run.uploaded == {Tier.LOCAL: "s1"}
    assert run.failed == {}


def test_failed_tier_is_remembered_with_its_code() -> None:
    """A tier without the snapshot is named with what was wrong."""
    run = given(ACCEPTED, PREPARING)
    run.tier_failed(fence=1, tier=Tier.OFFSITE, code="tier-unreachable", hint="look at it")
    assert run.failed == {Tier.OFFSITE: "tier-unreachable"}


def test_run_that_is_given_back_waits_for_another_worker() -> None:
    """Its next worker prepares under a higher fence; only who holds it can give it back."""
    run = given(ACCEPTED, PREPARING, UPLOADING)
    with pytest.raises(ClaimLost):
        run.requeue(fence=2)
    run.requeue(fence=1)
    assert run.pending == (BackupRequeued(execution_id=RUN, fence=1),)
    assert run.state is ExecutionState.INITIALIZING
    given(ACCEPTED, PREPARING, *run.pending).prepare(fence=2, worker="w2")
    with pytest.raises(RunFinished):
        given(ACCEPTED, PREPARING, FAILED).requeue(fence=1)
