"""The read models of notifications: each channel as it is in force, and what became of each notification.

Only the config service's stream changes these tables, in its order.
"""

from typing import Any

import msgspec

from contracts.config_events import (
    ChannelFact,
    NotificationDelayed,
    NotificationDelivered,
    NotificationFact,
    NotificationGivenUp,
    NotificationPlanned,
)
from contracts.event import pinned_kinds
from contracts.notifications import ChannelBody
from gateway.groups.notifications.resources import DeliveryState
from gateway.projections.applied import Applied, Database, read_view, upsert
from gateway.projections.in_force import rows_in_force
from gateway.projections.projection import Batch, Projection, Side

_STORE_CHANNEL = """
    INSERT INTO {notification_channels} (
        channel_id, organisation, version, request_id, created_by, created_at, changed_at, state, body)
    SELECT channel_id, organisation, version, request_id, created_by, created_at, changed_at, state, body
    FROM json_populate_recordset(NULL::{notification_channels}, %s)
    ON CONFLICT (channel_id) DO UPDATE SET
        version = excluded.version, changed_at = excluded.changed_at, state = excluded.state, body = excluded.body
"""
_PLAN = """
    INSERT INTO {notifications} (
        notification_id, organisation, channel_id, configuration_id, planned_at, fact, state, attempts, code, hint,
        status, next_attempt_at, changed_at)
    SELECT notification_id, organisation, channel_id, configuration_id, planned_at, fact, state, attempts, code, hint,
        status, next_attempt_at, changed_at
    FROM json_populate_recordset(NULL::{notifications}, %s)
    ON CONFLICT (notification_id) DO NOTHING
"""
_MOVE = """
    UPDATE {notifications} n
    SET state = r.state, attempts = r.attempts, code = r.code, hint = r.hint, status = r.status,
        next_attempt_at = r.next_attempt_at, changed_at = r.changed_at
    FROM json_populate_recordset(NULL::{notifications}, %s) r WHERE n.notification_id = r.notification_id
"""
_BODY = msgspec.json.Decoder(ChannelBody)


class NotificationChannels(Projection):
    """Each channel as it is in force. Sealed fields stay sealed."""

    NAME = "notification-channels"
    VERSION = 1
    EVENTS = pinned_kinds(ChannelFact)
    TABLES = ("notification_channels",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_STORE_CHANNEL)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await upsert(database, self._store, rows_in_force(batch, ChannelFact, "channel_id", "state"))


class Notifications(Projection):
    """What became of each notification."""

    NAME = "notifications"
    VERSION = 1
    EVENTS = pinned_kinds(NotificationFact)
    TABLES = ("notifications",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._plan, self._move = self.sql(_PLAN), self.sql(_MOVE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        planned: dict[str, dict[str, Any]] = {}
        moved: dict[str, dict[str, Any]] = {}
        for applied in batch.events:
            event = applied.event
            if isinstance(event, NotificationPlanned):
                planned[event.notification_id] = _planned(event, applied)
            elif isinstance(event, NotificationFact):
                moved[event.notification_id] = _moved(event, applied)
        await upsert(database, self._plan, list(planned.values()))
        await upsert(database, self._move, list(moved.values()))


def _planned(event: NotificationPlanned, applied: Applied) -> dict[str, Any]:
    return {
        "notification_id": event.notification_id,
        "organisation": applied.envelope.organisation,
        "channel_id": event.channel_id,
        "configuration_id": event.configuration_id,
        "planned_at": applied.envelope.time,
        "fact": event,
        "state": DeliveryState.WAITING,
        "attempts": 0,
        "next_attempt_at": event.next_attempt_at,
        "changed_at": applied.envelope.time,
    }


def _moved(event: NotificationFact, applied: Applied) -> dict[str, Any]:
    row: dict[str, Any] = {"notification_id": event.notification_id, "changed_at": applied.envelope.time}
    match event:
        case NotificationDelayed():
            row |= {
                "state": DeliveryState.WAITING,
                "attempts": event.attempts,
                "code": event.code,
                "hint": event.hint,
                "status": event.status,
                "next_attempt_at": event.next_attempt_at,
            }
        case NotificationDelivered():
            row |= {"state": DeliveryState.DELIVERED, "attempts": event.attempts, "status": event.status}
        case NotificationGivenUp():
            row |= {
                "state": DeliveryState.GIVEN_UP,
                "attempts": event.attempts,
                "code": event.code,
                "hint": event.hint,
                "status": event.status,
            }
    return row


def channel_body(stored: str) -> ChannelBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, NotificationChannels.NAME)


_FACT = msgspec.json.Decoder(dict[str, Any])


def planned_fact(stored: str) -> dict[str, Any]:
    """What a notification tells of, by the names that the contracts give it."""
    return read_view(stored, _FACT, Notifications.NAME)
