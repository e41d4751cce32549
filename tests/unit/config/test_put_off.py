"""Who moves the next run again and again, without a second factor, does not keep a configuration from having any."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from chassis.calendar.thinned import is_put_off
from contracts.configuration import ConfigurationBody
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationPauseRequested,
    ConfigurationResumptionRequested,
    Evidence,
)
from contracts.schedule import Schedule
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
    async def near(self, *_arguments: object) -> None:
        return None


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
        was = await schedules.awaited_by(configuration, None)
        request = _change(configuration, moved)
        try:
            configuration.change(request, None, becomes, is_later=is_put_off(was, becomes))
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
    """While it is paused nothing is told, and steps of a day are measured by what it said when it was paused."""
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
        is_later = is_put_off(await schedules.awaited_by(configuration, None), becomes)
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
    assert configuration.paused is None
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
        is_later = is_put_off(await schedules.awaited_by(configuration, None), becomes)
        configuration.change(_change(configuration, changed), None, becomes, is_later=is_later)
        turns.waits_for = becomes
        for _ in range(5):
            assert turns.waits_for is not None
            turns.now = turns.waits_for
            turns.came.append(turns.waits_for)
            turns.waits_for = None
            turns.waits_for = await schedules.next_of(configuration, None)
