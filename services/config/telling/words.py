"""What is sent: JSON for programs, and a few words for people. Ids alone, never a name or a path."""

from datetime import UTC, datetime

import msgspec

from contracts import errors
from contracts.config_events import NotificationPlanned
from contracts.notifications import ALARMS, NotificationEvent
from services.config.telling.ports import Message

TITLES = {
    NotificationEvent.STARTED: "Backup started",
    NotificationEvent.COMPLETED: "Backup completed",
    NotificationEvent.DEGRADED: "Backup completed, but not on every tier or not whole",
    NotificationEvent.FAILED: "Backup failed",
    NotificationEvent.MISSED: "Backup did not happen",
    NotificationEvent.OVERDUE: "Backup is overdue",
    NotificationEvent.RECOVERED: "Backups work again",
    NotificationEvent.TEST: "Test of a notification channel",
    NotificationEvent.DISASTER_RECOVERY: "A disaster recovery plan is being executed",
}
_PLAN_FAILED = "A disaster recovery plan, or a test of one, has failed"
_PLAN_UNTESTED = "A scheduled test of a disaster recovery plan did not begin"


class _Payload(msgspec.Struct, rename="camel", kw_only=True):
    """What a webhook is sent, beside its headers."""

    type: str
    timestamp: datetime
    data: "_Data"


class _Data(msgspec.Struct, rename="camel", kw_only=True):
    notification_id: str
    channel_id: str
    organisation: str
    event: NotificationEvent
    event_id: str
    configuration_id: str | None
    execution_id: str | None
    code: str | None
    hint: str | None
    due_at: datetime | None
    is_wedding_critical: bool


def message_of(notification_id: str, planned: NotificationPlanned, organisation: str) -> Message:
    """The message: the same bytes at each attempt."""
    known = errors.catalogue().get(planned.code or "")
    hint = None if known is None else known.hint
    payload = _Payload(
        type=f"backup.{planned.event}",
        timestamp=planned.happened_at.astimezone(UTC),
        data=_Data(
            notification_id=notification_id,
            channel_id=planned.channel_id,
            organisation=organisation,
            event=planned.event,
            event_id=planned.event_id,
            configuration_id=planned.configuration_id,
            execution_id=planned.execution_id,
            code=planned.code,
            hint=hint,
            due_at=planned.due_at,
            is_wedding_critical=planned.is_wedding_critical,
        ),
    )
    has_failed = planned.event is NotificationEvent.DISASTER_RECOVERY and planned.code is not None
    title = TITLES.get(planned.event, str(planned.event))
    if has_failed:
        title = _PLAN_UNTESTED if planned.execution_id is None else _PLAN_FAILED
    lines = [
        f"{title}." + (" A critical wedding is concerned." if planned.is_wedding_critical else ""),
        *([f"Configuration {planned.configuration_id}"] if planned.configuration_id else ()),
        *([f"Run {planned.execution_id}"] if planned.execution_id else ()),
        *([f"Due at {planned.due_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"] if planned.due_at else ()),
        *([f"Why: {planned.code}. {hint or ''}".rstrip()] if planned.code else ()),
        f"At {planned.happened_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    ]
    return Message(
        id=notification_id,
        organisation=organisation,
        type=payload.type,
        body=msgspec.json.encode(payload),
        title=f"WedSync Backup: {title}",
        text="\n".join(lines),
        is_alarm=planned.event in ALARMS,
    )
