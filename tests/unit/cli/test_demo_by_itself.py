"""The demo's schedule: nobody waits an hour for it."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from chassis.calendar.plan import Plan
from chassis.ids import new_id
from cli.demo_by_itself import soonest

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(timedelta(0), timedelta(days=3650)).map(lambda later: BEGIN + later)


@given(MOMENTS, st.builds(new_id))
def test_instant_is_the_next_of_the_schedule_and_soon(now: datetime, configuration_id: str) -> None:
    """It is what the service will reckon by the same schedule, and at most a quarter of a minute after the margin."""
    schedule, at = soonest(configuration_id, now, 4.0)
    planned = Plan(schedule, seed=configuration_id).after(now)
    assert planned is not None
    assert abs(planned.at - at) < timedelta(milliseconds=1)
    assert timedelta(seconds=4) <= at - now < timedelta(minutes=1, seconds=4)
