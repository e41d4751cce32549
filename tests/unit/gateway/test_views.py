"""What the read models know about runs, folded from facts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.configuration import Tier
from contracts.envelope import Envelope, decode_data, encode_data
from contracts.event import Event
from contracts.executor_events import (
    BackupAccepted,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupRequeued,
    BackupUploading,
    BackupVerifying,
    CatchUp,
    ExecutionType,
    RunTotals,
    TierFailed,
    TierUploaded,
)
from gateway.groups.configurations.queries import health_of
from gateway.groups.configurations.resources import ConfigurationHealth
from gateway.runs.projection import EXECUTION_DECODER, RUNS_DECODER, execution_view
from gateway.runs.queries import told
from gateway.runs.resources import VerificationStatus
from gateway.runs.standing import columns_of, standing_of
from gateway.runs.views import ExecutionView, RefusedView, RunsView

BEGAN = datetime(2026, 11, 24, 10, tzinfo=UTC)
TOTALS = RunTotals(files=3, source_bytes=300, new_bytes=200, stored_bytes=100)


def _envelope(event: Event, seconds: float) -> Envelope:
    return Envelope(
        specversion="1.0",
        id=f"event-{seconds}",
        source="/wedsync-backup/executor",
        type=event.NAME,
        subject="backup-run/run",
        time=BEGAN + timedelta(seconds=seconds),
        datacontenttype="application/json",
        organisation="acme",
        actor="service:executor",
        sequence=1,
        correlationid="c",
        data=encode_data(event),
    )


def _accepted(
    run: str = "run", seconds: float = 0, tiers: tuple[Tier, ...] = (Tier.LOCAL, Tier.OFFSITE)
) -> ExecutionView:
    event = BackupAccepted(
        request_id="request",
        execution_id=run,
        configuration_id="configuration",
        configuration_version=2,
        execution_type=ExecutionType.MANUAL,
        tiers=tiers,
    )
    return ExecutionView.accepted(_envelope(event, seconds), event, int(seconds))


def _folded(view: ExecutionView, *events: tuple[float, Event]) -> ExecutionView:
    for seconds, event in events:
        view.apply(_envelope(event, seconds), event, int(seconds))
    return view


def _uploaded(tier: Tier, run: str = "run") -> TierUploaded:
    return TierUploaded(
        execution_id=run, tier=tier, snapshot_id="s", log_entry=1, uploaded_bytes=9, objects=1, seconds=1.0
    )


def _completed(run: str = "run", **changes: Any) -> BackupCompleted:
    fields: dict[str, Any] = {
        "execution_id": run,
        "configuration_id": "configuration",
        "snapshot_id": "s",
        "degraded": False,
        "totals": TOTALS,
        "verified": (Tier.LOCAL, Tier.OFFSITE),
        "seconds": 2.0,
    }
    return BackupCompleted(**{**fields, **changes})


def test_run_goes_through_its_phases_with_their_times() -> None:
    """Each phase begins where the one before ends."""
    view = _folded(
        _accepted(),
        (1, BackupPreparing(execution_id="run", fence=1, worker="w")),
        (2, BackupUploading(execution_id="run", fence=1)),
        (3, _uploaded(Tier.LOCAL)),
        (4, _uploaded(Tier.OFFSITE)),
        (5, BackupVerifying(execution_id="run", fence=1)),
        (7, _completed()),
    )
    shown = told(view, is_wedding_critical=True, actor="user:someone")
    assert [(phase.name.value, phase.seconds) for phase in shown.phases] == [
        ("initializing", 1.0),
        ("preparing", 1.0),
        ("backing_up", 3.0),
        ("verifying", 2.0),
    ]
    assert shown.verification_status is VerificationStatus.VERIFIED
    assert shown.started_by == "user:someone"
    assert shown.version == 7
    assert view.counted_as == "completed"


def test_completed_run_that_owes_a_tier_is_counted_as_degraded() -> None:
    """A tier that is owed a catch-up has failed, also where no fact of its own said so."""
    view = _folded(
        _accepted(),
        (1, _uploaded(Tier.LOCAL)),
        (
            2,
            _completed(
                degraded=True, verified=(Tier.LOCAL,), catch_ups=(CatchUp(tier=Tier.OFFSITE, code="tier-full"),)
            ),
        ),
    )
    assert view.tiers[Tier.OFFSITE].state == "failed"
    assert view.tiers[Tier.OFFSITE].code == "tier-full"
    assert view.counted_as == "degraded"
    assert told(view, False, None).verification_status is VerificationStatus.PARTIAL


@pytest.mark.parametrize("is_told", [True, False])
def test_run_that_lacks_something_of_its_source_is_degraded(is_told: bool) -> None:
    """Also where an earlier build told the number alone: configuration, run and the rule of no errors say so."""
    totals = RunTotals(files=4, source_bytes=10, new_bytes=10, stored_bytes=9, unreadable_files=4)
    code = "source-incomplete" if is_told else None
    view = _folded(
        _accepted(),
        (1, _uploaded(Tier.LOCAL)),
        (2, _completed(totals=totals, degraded=is_told, verified=(Tier.LOCAL,), code=code)),
    )
    runs = _runs(view)
    details = told(view, False, None).completion_details
    assert view.counted_as == "degraded"
    assert details is not None
    assert (details.files, details.unreadable_files, details.code) == (4, 4, "source-incomplete")
    assert "sealed report" in (details.hint or "")
    assert health_of(runs) is ConfigurationHealth.DEGRADED
    assert runs.last is not None
    assert runs.last.error_code == "source-incomplete"
    assert standing_of(str(columns_of(runs)["standing"])).ended == "degraded"


def test_snapshot_of_an_emptied_source_is_no_recovery_point() -> None:
    """The one before it stays."""
    ended = _completed(totals=TOTALS, degraded=True, verified=(Tier.LOCAL,), code="source-emptied")
    runs = _runs(_folded(_accepted(), (1, _uploaded(Tier.LOCAL)), (2, ended)))
    assert runs.recovery_point is None
    assert health_of(runs) is ConfigurationHealth.DEGRADED


@pytest.mark.parametrize(
    ("code", "is_gone"),
    [("tier-vanished", True), ("tier-unreachable", True), ("tier-full", False), ("tier-read-only", False)],
)
def test_tier_that_is_gone_holds_nothing_until_it_takes_an_upload_again(code: str, is_gone: bool) -> None:
    """What a tier once took is no copy while the tier is gone; a tier that is full has what it had."""
    runs = _runs(_folded(_accepted("a"), (1, _uploaded(Tier.LOCAL, "a")), (2, _completed("a"))))

    def gone() -> tuple[Tier, ...]:
        return standing_of(str(columns_of(runs)["standing"])).gone

    assert gone() == ()
    runs.apply(_folded(_accepted("b", 10), (11, TierFailed(execution_id="b", tier=Tier.LOCAL, code=code))))
    assert gone() == ((Tier.LOCAL,) if is_gone else ())
    runs.apply(_folded(_accepted("c", 20), (21, _uploaded(Tier.LOCAL, "c"))))
    assert gone() == ()


def test_failure_of_a_tier_keeps_its_own_hint() -> None:
    """The tier's own fact says more than the run's."""
    view = _folded(
        _accepted(),
        (1, TierFailed(execution_id="run", tier=Tier.OFFSITE, code="tier-full", hint="make room")),
        (
            2,
            _completed(
                degraded=True, catch_ups=(CatchUp(tier=Tier.OFFSITE, code="tier-full"),), verified=(Tier.LOCAL,)
            ),
        ),
    )
    assert view.tiers[Tier.OFFSITE].hint == "make room"
    assert view.tiers[Tier.OFFSITE].failed_at == BEGAN + timedelta(seconds=1)


def test_takeover_shows_a_second_attempt() -> None:
    """A worker that takes a run over begins again with preparing, under a higher fence."""
    view = _folded(
        _accepted(),
        (1, BackupPreparing(execution_id="run", fence=1, worker="a")),
        (2, BackupUploading(execution_id="run", fence=1)),
        (3, BackupPreparing(execution_id="run", fence=2, worker="b")),
    )
    assert view.attempts == 2
    assert [phase.name for phase in view.phases] == ["initializing", "preparing", "backing_up", "preparing"]


def test_run_that_was_given_back_waits_again() -> None:
    """Nobody works on it, and it does not say so."""
    view = _folded(
        _accepted(),
        (1, BackupPreparing(execution_id="run", fence=1, worker="a")),
        (2, BackupUploading(execution_id="run", fence=1)),
        (3, BackupRequeued(execution_id="run", fence=1)),
    )
    assert view.state == "initializing"
    assert [phase.name for phase in view.phases] == ["initializing", "preparing", "backing_up", "initializing"]
    assert view.finished_at is None


def test_run_that_could_not_be_done_says_what_it_waits_for() -> None:
    """From the first attempt that met it, through the next ones, until the source is read or the run has ended."""

    def given_back(at: int, code: str | None) -> tuple[int, BackupRequeued]:
        again = None if code is None else BEGAN + timedelta(seconds=at + 2)
        return at, BackupRequeued(execution_id="run", fence=at, code=code, hint="put it back", next_attempt_at=again)

    facts = [_accepted(), (1, BackupPreparing(execution_id="run", fence=1, worker="a")), given_back(2, "keys-unusable")]
    facts += [(3, BackupPreparing(execution_id="run", fence=3, worker="a")), given_back(4, "keys-unusable")]
    waiting = told(_folded(*facts, (5, BackupPreparing(execution_id="run", fence=5, worker="a"))), False, None).waiting
    assert waiting is not None
    assert (waiting.code, waiting.hint, waiting.title) == (
        "keys-unusable",
        "put it back",
        "The encryption keys cannot be used",
    )
    assert (waiting.since, waiting.next_attempt_at) == (BEGAN + timedelta(seconds=2), BEGAN + timedelta(seconds=6))
    changed = told(_folded(*facts, given_back(6, "locations-unreadable")), False, None).waiting
    assert changed is not None
    assert (changed.code, changed.since) == ("locations-unreadable", BEGAN + timedelta(seconds=6))
    for end in (
        given_back(6, None)[1],
        BackupUploading(execution_id="run", fence=4),
        BackupFailed(execution_id="run", configuration_id="configuration", code="keys-unusable", hint="put it back"),
    ):
        assert told(_folded(*facts, (6, end)), False, None).waiting is None


def test_failed_verification_is_told_apart_from_other_failures() -> None:
    """What was read back and differs is a failed verification; what was never read back is not."""
    for code, status in (
        ("verification-failed", VerificationStatus.FAILED),
        ("source-unreachable", VerificationStatus.NOT_VERIFIED),
        ("code-of-a-newer-build", VerificationStatus.NOT_VERIFIED),
    ):
        event = BackupFailed(execution_id="run", configuration_id="configuration", code=code, hint="do this")
        shown = told(_folded(_accepted(), (1, event)), False, None)
        assert shown.verification_status is status
        assert shown.error is not None
        assert shown.error_message == f"{shown.error.title}. do this"


def test_report_of_a_failed_run_is_named_by_its_digest() -> None:
    """Whoever holds the sealed report can tell that it is this run's."""
    event = BackupFailed(
        execution_id="run",
        configuration_id="configuration",
        code="tier-full",
        hint="do this",
        report_digest="af13",
        follow_up_at=BEGAN,
    )
    shown = told(_folded(_accepted(), (1, event)), False, None)
    assert shown.follow_up_at == BEGAN
    assert shown.error is not None
    assert shown.error.report_digest == "af13"


def test_view_survives_storing() -> None:
    """What is stored is what is read again."""
    view = _folded(_accepted(), (1, _uploaded(Tier.LOCAL)), (2, _completed()))
    assert EXECUTION_DECODER.decode(msgspec.json.encode(view)) == view


def _runs(*views: ExecutionView) -> RunsView:
    runs = RunsView(configuration_id="configuration", organisation="acme")
    for view in views:
        runs.apply(view)
    return runs


def test_health_follows_the_latest_run_that_ended() -> None:
    """A run that goes on changes nothing; the latest to end decides."""
    good = _folded(_accepted("a"), (10, _completed("a")))
    bad = _folded(
        _accepted("b", 20), (30, BackupFailed(execution_id="b", configuration_id="configuration", code="tier-full"))
    )
    running = _accepted("c", 40)
    assert health_of(None) is ConfigurationHealth.NEVER_RUN
    assert health_of(_runs(running)) is ConfigurationHealth.NEVER_RUN
    assert health_of(_runs(good, running)) is ConfigurationHealth.HEALTHY
    assert health_of(_runs(good, bad, running)) is ConfigurationHealth.FAILING
    degraded = _folded(_accepted("d", 50), (60, _completed("d", degraded=True)))
    assert health_of(_runs(bad, degraded)) is ConfigurationHealth.DEGRADED


def test_scheduled_run_that_waited_beyond_its_time_was_missed() -> None:
    """Whichever is looked at first, the latest instant is told; a run that fails by something else was not missed."""
    runs = []
    for number, (code, hours) in enumerate([("schedule-missed", 2), ("tier-full", 3), ("schedule-missed", 1)]):
        run = _accepted(str(number), float(number))
        run.due_at = BEGAN + timedelta(hours=hours)
        event = BackupFailed(execution_id=str(number), configuration_id="configuration", code=code, hint="By hand.")
        runs.append(_folded(run, (10 + number, event)))
    for order in (runs, runs[::-1]):
        assert _runs(*order).refused == RefusedView(BEGAN + timedelta(hours=2), "schedule-missed", "By hand.")


def test_what_came_last_is_told_by_the_record_and_by_no_clock() -> None:
    """A good run whose worker's clock was a year ahead hides none of the failures that follow it; nor one behind."""
    year = 365 * 86400
    good = _accepted("a", 1)
    for event in (_uploaded(Tier.LOCAL, "a"), _completed("a")):
        good.apply(_envelope(event, year), event, 2)
    failed = BackupFailed(execution_id="b", configuration_id="configuration", code="tier-vanished")
    bad = _accepted("b", 3)
    for event in (TierFailed(execution_id="b", tier=Tier.LOCAL, code="tier-vanished"), failed):
        bad.apply(_envelope(event, -year), event, 4)
    for runs in (_runs(good, bad), _runs(bad, good)):
        assert health_of(runs) is ConfigurationHealth.FAILING
        standing = standing_of(str(columns_of(runs)["standing"]))
        assert (standing.ended, standing.behind, standing.gone) == ("failed", (Tier.LOCAL,), (Tier.LOCAL,))
        assert runs.last is not None
        assert runs.last.execution_id == "b"


@given(st.permutations([0, 1, 2, 3]), st.lists(st.booleans(), min_size=4, max_size=4))
def test_runs_of_a_configuration_do_not_depend_on_batches(order: list[int], each_alone: list[bool]) -> None:
    """However facts are cut into batches, and in whichever order overlapping runs come, the view is the same."""
    histories: list[list[tuple[float, Event]]] = [
        [(10, _uploaded(Tier.LOCAL, "0")), (11, _completed("0"))],
        [(12, TierFailed(execution_id="1", tier=Tier.LOCAL, code="tier-full")), (13, _uploaded(Tier.LOCAL, "1"))],
        [(14, _uploaded(Tier.OFFSITE, "2")), (15, TierFailed(execution_id="2", tier=Tier.OFFSITE, code="x"))],
        [(16, BackupFailed(execution_id="3", configuration_id="configuration", code="tier-full"))],
    ]

    def view(number: int) -> ExecutionView:
        return _folded(_accepted(str(number), float(number)), *histories[number])

    whole = _runs(*(view(number) for number in range(4)))
    pieces = RunsView(configuration_id="configuration", organisation="acme")
    for number in order:
        run = _accepted(str(number), float(number))
        for seconds, event in histories[number]:
            run.apply(_envelope(event, seconds), event, int(seconds))
            if each_alone[number]:
                pieces.apply(run)
        pieces.apply(run)
    assert pieces == whole
    assert RUNS_DECODER.decode(msgspec.json.encode(whole)) == whole


def _newer(event: Event, name: str, value: Any, seconds: float) -> tuple[Envelope, Event]:
    """An event in which a newer build has written a value, as this one reads it."""
    fields = {**msgspec.json.decode(encode_data(event)), name: value}
    envelope = msgspec.structs.replace(_envelope(event, seconds), data=msgspec.Raw(msgspec.json.encode(fields)))
    return envelope, decode_data(envelope)


def test_two_tiers_of_a_newer_build_stay_two() -> None:
    """Each is kept under the name that it was written by, also in what is stored, and shown as `unknown`."""
    accepted = BackupAccepted(
        request_id="q",
        execution_id="run",
        configuration_id="c",
        configuration_version=1,
        execution_type=ExecutionType.MANUAL,
        tiers=(Tier.LOCAL,),
    )
    envelope, event = _newer(accepted, "tiers", ["local", "vault", "tape"], 0)
    assert isinstance(event, BackupAccepted)
    run = ExecutionView.accepted(envelope, event, 1)
    failed = TierFailed(execution_id="run", tier=Tier.LOCAL, code="tier-full", hint="")
    run.apply(*_newer(failed, "tier", "tape", 1), 2)
    stored = msgspec.json.encode(run)
    assert {name: tier.state for name, tier in EXECUTION_DECODER.decode(stored).tiers.items()} == {
        "local": "pending",
        "vault": "pending",
        "tape": "failed",
    }
    shown = told(EXECUTION_DECODER.decode(stored), False, None).tiers
    assert [(tier.tier.value, tier.state.value) for tier in shown] == [
        ("local", "pending"),
        ("unknown", "pending"),
        ("unknown", "failed"),
    ]
    runs = RunsView(configuration_id="c", organisation="acme")
    runs.apply(run)
    assert set(RUNS_DECODER.decode(msgspec.json.encode(runs)).tiers) == {"local", "vault", "tape"}


def test_standing_of_a_newer_build_is_shown_as_unknown() -> None:
    """A stored view with a state of a tier, or a kind of run, that this build does not know costs that word alone."""
    stored = msgspec.json.decode(msgspec.json.encode(_accepted()))
    stored["tiers"]["local"] = {"state": "mirrored"}
    stored["execution_type"] = "rehearsal"
    shown = told(execution_view(msgspec.json.encode(stored).decode()), False, None)
    assert shown.tiers[0].state.value == "unknown"
    assert shown.execution_type.value == "unknown"
