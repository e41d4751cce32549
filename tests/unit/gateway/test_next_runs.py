"""Why a configuration runs next when it does, or why not."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from contracts.config_events import ConfigurationCreated
from contracts.configuration import ConfigurationState
from contracts.samples import sample_event
from contracts.schedule import Frequency, Schedule
from gateway.groups.configurations.next_runs import OVERDUE, reason_of

NOW = datetime(2027, 6, 1, 12, tzinfo=UTC)
DAILY = Schedule(frequency=Frequency.DAILY)
NEAR, FAR = date(2027, 6, 5), date(2027, 9, 5)
SOON = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("schedule", "state", "next_run", "is_critical", "wedding", "reason"),
    [
        (DAILY, ConfigurationState.ACTIVE, SOON, True, NEAR, "wedding"),
        (DAILY, ConfigurationState.ACTIVE, SOON, True, FAR, "schedule"),
        (DAILY, ConfigurationState.ACTIVE, SOON, True, None, "schedule"),
        (DAILY, ConfigurationState.ACTIVE, SOON, False, NEAR, "schedule"),
        (DAILY, ConfigurationState.ACTIVE, NOW - OVERDUE, True, NEAR, "wedding"),
        (DAILY, ConfigurationState.ACTIVE, NOW - OVERDUE - timedelta(seconds=1), True, NEAR, "overdue"),
        (DAILY, ConfigurationState.ACTIVE, None, True, NEAR, "schedule-ended"),
        (DAILY, ConfigurationState.PAUSED, None, True, NEAR, "paused"),
        (DAILY, ConfigurationState.RETIRED, None, True, NEAR, "retired"),
        (None, ConfigurationState.ACTIVE, None, True, NEAR, "no-schedule"),
        (Schedule(cron="L? of a newer build"), ConfigurationState.ACTIVE, SOON, True, NEAR, "schedule"),
    ],
)
def test_next_run_has_the_reason_that_comes_first(
    schedule: Schedule | None,
    state: ConfigurationState,
    next_run: datetime | None,
    is_critical: bool,
    wedding: date | None,
    reason: str,
) -> None:
    """Whoever sees no run, or an early one, is told why."""
    body = msgspec.structs.replace(
        sample_event(ConfigurationCreated).body, schedule=schedule, is_wedding_critical=is_critical
    )
    assert reason_of(body, state, next_run, NOW, wedding=wedding) == reason
