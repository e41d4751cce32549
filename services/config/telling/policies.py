"""What is told of a fact, and when. Pure."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from contracts import errors
from contracts.config_events import BackupMissed
from contracts.event import Event
from contracts.executor_events import BackupAccepted, BackupCompleted, BackupFailed, BackupRefused
from contracts.notifications import ALARMS, ASKED_FOR, ChannelBody, NotificationEvent, QuietHours

MINUTE, HOUR = 60.0, 3600.0
PAUSES = (
    *(5.0, 30.0, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE),
    *(15 * MINUTE,) * 4,
    *(30 * MINUTE,) * 2,
    *(HOUR,) * 4,
    *(3 * HOUR,) * 6,
)
"""Between two attempts, in seconds: about a day in all. One that was away for an hour has it 15 minutes later."""
WORSE = ALARMS | {NotificationEvent.DEGRADED}
"""After which a whole backup is a recovery."""


class News(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told. `is_end`: its run waits for nothing any more."""

    event: NotificationEvent
    configuration_id: str
    execution_id: str | None = None
    code: str | None = None
    due_at: datetime | None = None
    is_end: bool = False


def when_run_changed(event: Event) -> News | None:
    """What a fact means for people; None where it means nothing to be told."""
    match event:
        case BackupAccepted(configuration_id=configuration, execution_id=run, due_at=due_at):
            return News(
                event=NotificationEvent.STARTED, configuration_id=configuration, execution_id=run, due_at=due_at
            )
        case BackupCompleted(configuration_id=configuration, execution_id=run, degraded=degraded, code=code):
            kind = NotificationEvent.DEGRADED if degraded else NotificationEvent.COMPLETED
            code = code or next((each.code for each in event.catch_ups), None)
            return News(event=kind, configuration_id=configuration, execution_id=run, code=code, is_end=True)
        case BackupFailed(configuration_id=configuration, execution_id=run, code=code):
            # One that waited for a worker beyond its time did not happen.
            is_missed = code == errors.SCHEDULE_MISSED.code
            return News(
                event=NotificationEvent.MISSED if is_missed else NotificationEvent.FAILED,
                configuration_id=configuration,
                execution_id=run,
                code=code,
                is_end=True,
            )
        case BackupRefused(configuration_id=configuration, execution_id=run, code=code, due_at=due_at):
            if due_at is None:  # Who asked for it is told by the answer.
                return None
            return News(
                event=NotificationEvent.MISSED,
                configuration_id=configuration,
                execution_id=run,
                code=code,
                due_at=due_at,
                is_end=True,
            )
        case BackupMissed(configuration_id=configuration, code=code, due_at=due_at):
            return News(event=NotificationEvent.MISSED, configuration_id=configuration, code=code, due_at=due_at)
    return None


def told_as(
    news: NotificationEvent, before: NotificationEvent | None, chosen: frozenset[NotificationEvent]
) -> NotificationEvent | None:
    """What a channel that is for some events is told of news, after what was told of before; None for nothing."""
    if news is NotificationEvent.COMPLETED and before in WORSE and NotificationEvent.RECOVERED in chosen:
        return NotificationEvent.RECOVERED
    return news if news in chosen else None


def is_for(channel: ChannelBody, configuration_id: str) -> bool:
    """Whether a channel is for what happens to a configuration."""
    return not channel.configuration_ids or configuration_id in channel.configuration_ids


def pause_after(attempts: int) -> timedelta | None:
    """How long after so many attempts the next is made; None where it was the last."""
    return timedelta(seconds=PAUSES[attempts - 1]) if attempts <= len(PAUSES) else None


def held_until(
    quiet: QuietHours | None, event: NotificationEvent, now: datetime, *, is_wedding_critical: bool
) -> datetime | None:
    """When a channel's quiet hours end; None where it is sent now."""
    if quiet is None or event in ASKED_FOR or (is_wedding_critical and event in ALARMS):
        return None
    zone = ZoneInfo(quiet.time_zone)
    here = now.astimezone(zone)
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    at = here.time().replace(tzinfo=None)
    is_quiet = start <= at < end if start < end else at >= start or at < end
    if not is_quiet:
        return None
    day = here.date() if at < end else here.date() + timedelta(days=1)
    until = datetime.combine(day, end, tzinfo=zone).astimezone(UTC)
    # Where the clocks are put back, the end comes twice: what is over by the first is not held till the second.
    return until if until > now else None
