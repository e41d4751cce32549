"""When a configuration's runs are due: what requests and facts say of it. What it means is `chassis.calendar`."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.event import Value
from contracts.reading import Growing

# Judged with all other fields at once (`chassis.calendar.rules`), so that nothing but lengths is bounded here.
Moment = Annotated[datetime, Meta(tz=True)]
TimeOfDay = Annotated[str, Meta(max_length=5, description="`HH:MM` by the schedule's time zone.")]


class Frequency(Growing):
    """How often, where no cron expression says it."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class MissedRuns(Growing):
    """What becomes of runs that fell due while nobody could start them."""

    RUN_ONCE = "run-once"
    WITHIN_WINDOW = "within-window"
    SKIP = "skip"


class Window(Value, frozen=True, kw_only=True):
    """Between which times of day runs begin; `end` is not among them. It may go over midnight."""

    start: TimeOfDay
    end: TimeOfDay


class Blackout(Value, frozen=True, kw_only=True):
    """A span in which no run begins; `endsAt` is not in it."""

    starts_at: Moment
    ends_at: Moment


class Schedule(Value, frozen=True, kw_only=True):
    """When runs are due: by `frequency` or by `cron` (minute, hour, day of month, month, day of week), one of the two.

    All in `timeZone` (an IANA name). `jitterMinutes`: each configuration's runs are later by a time of its own, always
    the same, below that. `missedRuns`: see `MissedRuns`.
    """

    frequency: Frequency | None = None
    cron: Annotated[str, Meta(max_length=200)] | None = None
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    window: Window | None = None
    jitter_minutes: Annotated[int, Meta(ge=0, le=1440)] = 0
    missed_runs: MissedRuns = MissedRuns.RUN_ONCE
    blackouts: Annotated[tuple[Blackout, ...], Meta(max_length=50)] = ()
