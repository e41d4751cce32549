"""Who moves the next run again and again, without a second factor, does not keep a configuration from having any."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from contracts.configuration import ConfigurationBody
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
    Evidence,
)
from contracts.schedule import Blackout, Schedule
from services.config.application import Schedules
from services.config.domain import Configuration, DueBackup
from services.config.errors import SecondFactorNeeded
from services.config.ports import Planning
from tests.support.configurations import body

_BEGIN = datetime(2027, 1, 2, 12, tzinfo=UTC)
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class _Turns:
    """`Turns` in memory, with a clock of its own: what has come is dealt with at once."""

    def __init__(self) -> None:
        self.now = _BEGIN
        self.waits_for: datetime | None = None
        self.came: list[datetime] = []

    async def look(self, _configuration_id: str) -> Planning:
        return Planning(self.now, self.waits_for)

    async def is_dealt_with(self, due: DueBackup) -> bool:
        return due.id in {DueBackup.of("configuration", at).id for at in self.came}


class _NoWeddings:
    day: date | None = None

    async def near(self, *_arguments: object) -> date | None:
        return self.day


def _weekly(step: int) -> str:
    return f"0 2 * * {_DAYS[step % 7]}"


def _daily(step: int) -> str:
    return f"0 {-step % 24} * * *"


def _yearly(step: int) -> str:
    day = datetime(2027, 1, 7, tzinfo=UTC) + timedelta(days=step)
    return f"0 2 {day.day} {day.month} *"


def _change(configuration: Configuration, moved: ConfigurationBody) -> ConfigurationChangeSubmitted:
    return ConfigurationChangeSubmitted(
        request_id="r",
        configuration_id="configuration",
        expected_version=configuration.body_version,
        body=moved,
        evidence=Evidence(assurance="aal1"),
    )


@pytest.mark.parametrize(
    ("cron", "gap_max"),
    [(_weekly, timedelta(days=10)), (_daily, timedelta(days=3)), (_yearly, timedelta(days=8))],
    ids=["weekly", "daily", "yearly"],
)
async def test_run_comes_however_often_it_is_moved(cron: Callable[[int], str], gap_max: timedelta) -> None:
    """Shortly before each run somebody tries to have it later: the first comes within a day or two of its time."""
    turns = _Turns()
    schedules = Schedules(turns, _NoWeddings())  # type: ignore[arg-type]  # what is asked of them
    configuration, step = Configuration("configuration"), 0
    first = body(schedule=Schedule(cron=cron(step)))
    turns.waits_for = await schedules.next_run("configuration", first, "")
    configuration.create(request_id="r", body=first, next_run_at=turns.waits_for)
    refused = 0
    for _ in range(60):
        assert turns.waits_for is not None
        turns.now = turns.waits_for - timedelta(minutes=30)
        moved = body(schedule=Schedule(cron=cron(step + 1)))
        becomes = await schedules.next_run("configuration", moved, "")
        is_later = await schedules.is_put_off(configuration, moved, becomes)
        request = _change(configuration, moved)
        try:
            configuration.change(request, None, becomes, is_later=is_later)
            step, turns.waits_for = step + 1, becomes
        except SecondFactorNeeded:
            refused += 1
            turns.now = turns.waits_for
            turns.came.append(turns.waits_for)
            turns.waits_for = None
            turns.waits_for = await schedules.next_of(configuration, None)
        if len(turns.came) > 3:
            break
    assert refused
    assert turns.came[0] - _BEGIN <= gap_max
    if cron is not _yearly:
        assert max(later - earlier for earlier, later in zip(turns.came, turns.came[1:], strict=False)) <= gap_max


async def test_run_of_a_paused_one_is_not_moved_away_before_it_is_resumed() -> None:
    """While it is paused nothing is told, and steps of a day are measured by all that it said."""
    turns = _Turns()
    schedules = Schedules(turns, _NoWeddings())  # type: ignore[arg-type]  # what is asked of them
    configuration, refused = Configuration("configuration"), 0
    first = body(schedule=Schedule(cron=_yearly(0)))
    at = await schedules.next_run("configuration", first, "")
    assert at is not None
    configuration.create(request_id="r", body=first, next_run_at=at)
    evidence = Evidence(assurance="aal2")
    asked = {"request_id": "r", "configuration_id": "configuration", "evidence": evidence}
    configuration.pause(ConfigurationPauseRequested(**asked))  # type: ignore[arg-type]  # these are its fields
    step = 0
    for _ in range(60):
        moved = body(schedule=Schedule(cron=_yearly(step + 1)))
        becomes = await schedules.next_run("configuration", moved, "")
        is_later = await schedules.is_put_off(configuration, moved, becomes)
        try:
            configuration.change(_change(configuration, moved), None, becomes, is_later=is_later)
            step += 1
        except SecondFactorNeeded:
            refused += 1
    resumed = await schedules.next_of(configuration, None)
    configuration.resume(ConfigurationResumptionRequested(**asked), resumed)  # type: ignore[arg-type]  # the same
    assert resumed is not None
    assert refused
    assert resumed - at <= timedelta(days=3)
    assert configuration.awaited == resumed


@pytest.mark.parametrize(
    ("first", "later", "more"),
    [
        ("0 2 * * *", "0 5 * * *", "0 * * * *"),
        ("0 2 * * SUN", "0 2 * * MON", "0 2 * * SUN,MON"),
        ("0 2 * * SUN", "0 22 * * SUN", "0 22 * * SUN,WED"),
    ],
)
async def test_run_that_was_moved_and_came_is_waited_for_no_more(first: str, later: str, more: str) -> None:
    """Nobody needs a second factor for more runs because one was moved once, as far as it may be."""
    turns = _Turns()
    schedules = Schedules(turns, _NoWeddings())  # type: ignore[arg-type]  # what is asked of them
    configuration = Configuration("configuration")
    begun = body(schedule=Schedule(cron=first))
    turns.waits_for = await schedules.next_run("configuration", begun, "")
    configuration.create(request_id="r", body=begun, next_run_at=turns.waits_for)
    for expression in (later, more):
        changed = body(schedule=Schedule(cron=expression))
        becomes = await schedules.next_run("configuration", changed, "")
        is_later = await schedules.is_put_off(configuration, changed, becomes)
        configuration.change(_change(configuration, changed), None, becomes, is_later=is_later)
        turns.waits_for = becomes
        for _ in range(5):
            assert turns.waits_for is not None
            turns.now = turns.waits_for
            turns.came.append(turns.waits_for)
            turns.waits_for = None
            turns.waits_for = await schedules.next_of(configuration, None)


@pytest.mark.parametrize("is_critical", [True, False])
async def test_runs_around_a_wedding_hide_no_run_that_is_moved_away(is_critical: bool) -> None:
    """The next run is one of the hourly ones; the schedule's own one is looked at by itself."""
    turns, weddings = _Turns(), _NoWeddings()
    turns.now = datetime(2026, 11, 28, 8, 30, tzinfo=UTC)
    if is_critical:
        weddings.day = date(2026, 12, 1)
    schedules = Schedules(turns, weddings)  # type: ignore[arg-type]  # what is asked of them
    configuration = Configuration("configuration")
    begun, moved = (body(schedule=Schedule(cron=cron)) for cron in ("0 2 20 12 *", "0 2 27 11 *"))
    turns.waits_for = await schedules.next_run("configuration", begun, "")
    configuration.create(request_id="r", body=begun, next_run_at=turns.waits_for)
    becomes = await schedules.next_run("configuration", moved, "")
    assert (becomes == turns.waits_for) is is_critical
    assert await schedules.is_put_off(configuration, moved, becomes)


async def test_days_that_are_left_out_do_not_make_each_change_one_for_the_worse() -> None:
    """They were proven when they were left out."""
    turns = _Turns()
    schedules = Schedules(turns, _NoWeddings())  # type: ignore[arg-type]  # what is asked of them
    configuration = Configuration("configuration")
    away = (Blackout(starts_at=_BEGIN, ends_at=_BEGIN + timedelta(days=20)),)
    daily = Schedule(cron="0 2 * * *")
    configuration.create(request_id="r", body=body(schedule=daily), next_run_at=None)
    left_out = body(schedule=msgspec.structs.replace(daily, blackouts=away))
    turns.waits_for = await schedules.next_run("configuration", left_out, "")
    request = _change(configuration, left_out)
    proven = msgspec.structs.replace(request, evidence=Evidence(assurance="aal2", second_factor=True))
    configuration.change(proven, None, turns.waits_for, is_later=True)
    more = body(schedule=Schedule(cron="0 2,14 * * *", blackouts=away))
    assert not await schedules.is_put_off(configuration, more, await schedules.next_run("configuration", more, ""))
    later = (Blackout(starts_at=_BEGIN, ends_at=_BEGIN + timedelta(days=30)),)
    least = body(schedule=Schedule(cron="0 2 * * *", blackouts=later))
    assert await schedules.is_put_off(configuration, least, await schedules.next_run("configuration", least, ""))


async def test_move_that_was_proven_is_measured_by_the_run_that_was_told_last() -> None:
    """The clock was ahead when it was created, and its run was planned anew since: it is not proven once more."""
    turns = _Turns()
    schedules = Schedules(turns, _NoWeddings())  # type: ignore[arg-type]  # what is asked of them
    configuration = Configuration("configuration")
    daily, rare, more = (body(schedule=Schedule(cron=cron)) for cron in ("0 2 * * *", "0 2 10 * *", "0 2 10,20 * *"))
    configuration.create(request_id="r", body=daily, next_run_at=_BEGIN + timedelta(days=40))
    configuration.plan_anew(await schedules.next_run("configuration", daily, ""))
    assert configuration.awaited == _BEGIN + timedelta(hours=14)
    becomes = await schedules.next_run("configuration", rare, "")
    assert await schedules.is_put_off(configuration, rare, becomes)
    request = _change(configuration, rare)
    proven = msgspec.structs.replace(request, evidence=Evidence(assurance="aal2", second_factor=True))
    configuration.change(proven, None, becomes, is_later=True)
    assert not await schedules.is_put_off(configuration, more, await schedules.next_run("configuration", more, ""))


def test_schedules_before_a_proven_putting_off_are_measured_against_no_more() -> None:
    """The one that it was put off to is what later small steps begin at."""
    rare, rarer = (body(schedule=Schedule(cron=_yearly(step))) for step in (0, 30))
    configuration = Configuration("configuration")
    configuration.create(request_id="r", body=rare, next_run_at=_BEGIN)
    assert configuration.schedules_since == [rare.schedule]
    proven = msgspec.structs.replace(
        _change(configuration, rarer), evidence=Evidence(assurance="aal2", second_factor=True)
    )
    configuration.change(proven, None, _BEGIN + timedelta(days=30), is_later=True)
    assert configuration.schedules_since == [rarer.schedule]
