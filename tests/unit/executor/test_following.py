"""What a follow-up is begun with, and what keeps it from beginning; the record and the queue are made up."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from chassis.claims.port import QueueLimits, Standing
from chassis.claims.work import CLAIM
from chassis.record.eventstore import Statement, StatementRefused
from chassis.timers.table import Timer
from contracts.config_events import ConfigurationCreated
from contracts.configuration import ConfigurationBody, Destination, StorageDestinations, Tier
from contracts.executor_events import BackupAccepted, BackupFailed, ExecutionType
from contracts.samples import sample_event
from contracts.schedule import Blackout, Schedule, Window
from services.executor.adapters.follow_ups import FOLLOW_UP, Preceding
from services.executor.adapters.following import (
    BLACKOUT_SECONDS,
    QUEUE_SECONDS,
    WINDOW_SECONDS,
    FollowingRuns,
    kept_out_until,
)
from services.executor.domain import BackupRun
from services.executor.kept import Replica

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TIMER = Timer(FOLLOW_UP, "c", NOW, msgspec.json.encode(Preceding("run-1", "acme")), 7, 1, NOW)
PLENTY, NO_ROOM = QueueLimits(per_organisation=9, in_all=9), QueueLimits(per_organisation=0, in_all=0)
SOON_OVER = Schedule(cron="0 * * * *", blackouts=(Blackout(starts_at=NOW, ends_at=NOW + timedelta(minutes=20)),))
AWAY = Schedule(cron="0 * * * *", blackouts=(Blackout(starts_at=NOW, ends_at=NOW + timedelta(hours=2)),))


def _before(**said: Any) -> BackupRun:
    run = BackupRun("run-1")
    run.advance(
        BackupAccepted(
            request_id="r",
            execution_id="run-1",
            configuration_id="c",
            configuration_version=3,
            execution_type=ExecutionType.SCHEDULED,
            tiers=(Tier.LOCAL,),
            **said,
        )
    )
    run.advance(BackupFailed(execution_id="run-1", configuration_id="c", code="source-unreachable"))
    return run


class World:
    """Record, configurations and queue: what is there, and what was done."""

    def __init__(
        self,
        *,
        before: BackupRun | None = None,
        schedule: Schedule | None = None,
        owner: str = "acme",
        latest: str | None = "run-1",
        refused: str | None = None,
    ) -> None:
        self.before = before or _before()
        body: ConfigurationBody = msgspec.structs.replace(
            sample_event(ConfigurationCreated).body,
            schedule=schedule,
            storage_destinations=StorageDestinations(local=Destination(location="local")),
        )
        self.replica = Replica(configuration_id="c", organisation=owner, version=5, body=body)
        self.last, self.refused = latest, refused
        self.begun: list[BackupRun] = []
        self.done: list[Statement] = []

    async def begin(self, limits: QueueLimits = PLENTY) -> None:
        """Fire the timer."""
        runs = SimpleNamespace(find=self.find_run, record_following=self.record_following)
        configurations = SimpleNamespace(find=self.find_configuration)
        await FollowingRuns(self, runs, configurations, self, limits).begin(TIMER)  # type: ignore[arg-type]  # parts of them

    async def find_run(self, _id: str, _organisation: str) -> BackupRun:
        """Of `Runs`."""
        return self.before

    async def find_configuration(self, _id: str) -> Replica:
        """Of `Configurations`."""
        return self.replica

    async def standing(self, **_about: str) -> Standing:
        """Of `Queue`."""
        return Standing()

    async def latest(self, _subject: str) -> str | None:
        """Of `Queue`."""
        return self.last

    async def record_following(self, run: BackupRun, *_beside: object) -> None:
        """Of `RecordedRuns`."""
        if self.refused is not None:
            raise StatementRefused(self.refused)
        self.begun.append(run)

    async def save(self, *, also: list[Statement], **_said: object) -> None:
        """Of the event store."""
        self.done += also


async def _accepted(world: World) -> BackupAccepted:
    await world.begin()
    ((accepted,),) = [run.pending for run in world.begun]
    assert isinstance(accepted, BackupAccepted)
    return accepted


@pytest.mark.parametrize("is_urgent", [False, True])
async def test_follow_up_keeps_its_turn_and_is_of_the_configuration_as_it_is_now(*, is_urgent: bool) -> None:
    """A critical wedding's goes before the others again; the version that it names is that of what it copies."""
    accepted = await _accepted(World(before=_before(is_urgent=is_urgent)))
    assert (accepted.is_urgent, accepted.configuration_version, accepted.retry_of) == (is_urgent, 5, "run-1")


@pytest.mark.parametrize("made", [(False, False), (True, False), (True, True)])
async def test_follow_up_is_told_what_those_before_it_have_made(made: tuple[bool, bool]) -> None:
    """By that its own point counts in a policy, or does not."""
    accepted = await _accepted(World(before=_before(has_point=made[0], has_proven_point=made[1])))
    assert (accepted.has_point, accepted.has_proven_point) == made


@pytest.mark.parametrize("world", [World(owner="another"), World(latest="run-2"), World(refused=CLAIM)])
async def test_nothing_follows_where_it_is_not_this_runs_turn(world: World) -> None:
    """Of another organisation's configuration; after a run that an earlier build made; beside one that was quicker."""
    await world.begin()
    assert (world.begun, world.done) == ([], [TIMER.done()])


async def test_other_refusals_are_not_taken_for_a_race() -> None:
    """They are told, and the timer comes again."""
    world = World(refused="something else")
    with pytest.raises(StatementRefused):
        await world.begin()
    assert world.done == []


@pytest.mark.parametrize(
    ("schedule", "limits", "until"),
    [
        (AWAY, PLENTY, timedelta(seconds=BLACKOUT_SECONDS)),
        (AWAY, NO_ROOM, timedelta(seconds=BLACKOUT_SECONDS)),
        (SOON_OVER, PLENTY, timedelta(minutes=20)),
        (None, NO_ROOM, timedelta(seconds=QUEUE_SECONDS)),
    ],
)
async def test_what_may_not_begin_waits_for_what_keeps_it_longest(
    schedule: Schedule | None, limits: QueueLimits, until: timedelta
) -> None:
    """In a blackout nobody looks each minute whether there is room, and beside it a full queue is waited for."""
    world = World(schedule=schedule)
    await world.begin(limits)
    assert (world.begun, world.done) == ([], [TIMER.moved(NOW + until)])


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("14:02", "14:03", 120),
        ("14:05", "14:06", WINDOW_SECONDS),
        ("16:00", "18:00", WINDOW_SECONDS),
        ("13:59", "14:00", WINDOW_SECONDS),
        ("14:00", "14:01", None),
    ],
)
def test_window_of_a_minute_is_not_stepped_over(start: str, end: str, seconds: float | None) -> None:
    """The looks are further apart than that, so one of them is at its beginning, by the clock of its zone."""
    schedule = Schedule(cron="0 * * * *", time_zone="Europe/Berlin", window=Window(start=start, end=end))
    until = kept_out_until(schedule, NOW)
    assert until == (None if seconds is None else NOW + timedelta(seconds=seconds))
