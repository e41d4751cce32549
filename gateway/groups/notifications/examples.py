"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts import errors
from contracts.notifications import ChannelKind, ChannelState, NotificationEvent, QuietHours
from gateway.groups.notifications.resources import (
    Delivery,
    DeliveryState,
    NewNotificationChannel,
    NotificationChannel,
)
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CHANNEL_ID, CONFIGURATION_ID, EXECUTION_ID, NOTIFICATION_ID, at

NEW_CHANNEL = NewNotificationChannel(
    name="On call",
    kind=ChannelKind.WEBHOOK,
    url="https://alarms.example.com/hooks/backup",
    secret="studio-alarms",  # noqa: S106  # its name
    events=(NotificationEvent.FAILED, NotificationEvent.MISSED, NotificationEvent.RECOVERED),
    quiet_hours=QuietHours(start="22:00", end="07:00", time_zone="Europe/Berlin"),
)
CHANNEL = NotificationChannel(
    id=CHANNEL_ID,
    version=1,
    state=ChannelState.ACTIVE,
    name=NEW_CHANNEL.name,
    kind=ChannelKind.WEBHOOK,
    host="alarms.example.com",
    secret=NEW_CHANNEL.secret,
    events=list(NEW_CHANNEL.events),
    configuration_ids=[],
    quiet_hours=NEW_CHANNEL.quiet_hours,
    created_by=ACTOR,
    created_at=at(-3600),
    changed_at=at(-3600),
)
CHANNELS = ListPage[NotificationChannel](items=[CHANNEL])
DELIVERY = Delivery(
    id=NOTIFICATION_ID,
    channel_id=CHANNEL_ID,
    event=NotificationEvent.FAILED,
    event_id="019ab4d4-5eaf-7088-8c43-8f9a0b1c2d3e",
    configuration_id=CONFIGURATION_ID,
    execution_id=EXECUTION_ID,
    event_code=errors.REQUIRED_TIER_FAILED.code,
    due_at=None,
    is_wedding_critical=True,
    happened_at=at(60),
    state=DeliveryState.WAITING,
    attempts=1,
    next_attempt_at=at(66),
    code=errors.RECEIVER_FAILED.code,
    hint=errors.RECEIVER_FAILED.hint,
    status=500,
    changed_at=at(61),
)
DELIVERIES = ListPage[Delivery](items=[DELIVERY])
