"""When a configuration runs next, and why: what its schedule has been planned to, as people are told."""

from datetime import date, datetime, timedelta

from chassis.calendar.plan import Plan
from contracts.configuration import ConfigurationBody, ConfigurationState
from gateway.groups.configurations.resources import NextRunReason

OVERDUE = timedelta(minutes=2)
"""Within this time a run that has fallen due is asked for, and told of."""


def reason_of(
    body: ConfigurationBody,
    state: ConfigurationState,
    next_run: datetime | None,
    now: datetime,
    *,
    wedding: date | None,
) -> NextRunReason:
    """Why the next run is when it is, or why there is none. `wedding`: around which it may be denser."""
    if state is ConfigurationState.RETIRED:
        return NextRunReason.RETIRED
    if state is ConfigurationState.PAUSED:
        return NextRunReason.PAUSED
    if body.schedule is None:
        return NextRunReason.NO_SCHEDULE
    if next_run is None:
        return NextRunReason.SCHEDULE_ENDED
    if next_run < now - OVERDUE:
        return NextRunReason.OVERDUE
    try:
        is_raised = Plan(body.schedule, seed="", wedding=wedding if body.is_wedding_critical else None).is_raised(
            next_run
        )
    except ValueError:
        # A newer build's schedule, or a zone that this machine does not know: when it runs is told all the same.
        is_raised = False
    return NextRunReason.WEDDING if is_raised else NextRunReason.SCHEDULE
