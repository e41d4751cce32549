"""Channels and notifications in the config service's record, and what stands beside it for them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import LiteralString

from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.context import Context
from chassis.domain import Aggregate
from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.answers import Answers
from chassis.record.eventstore import EventStore, Statement
from chassis.timers.table import Timer, cancelled, set_at
from contracts.config_events import (
    ChannelFact,
    NotificationDelivered,
    NotificationGivenUp,
    NotificationPlanned,
)
from contracts.notifications import ChannelState, NotificationEvent
from contracts.reading import read_plain
from services.config.adapters.record import OVERDUE
from services.config.domain import Configuration
from services.config.telling.domain import Notification, NotificationChannel
from services.config.telling.ports import Due, Told

NOTIFICATION = "notification"
"""The kind of the timers: one for each notification that is not over, named by its id."""

_KEEP: LiteralString = """
    INSERT INTO notification_channels (channel_id, organisation, is_active) VALUES (%s, %s, %s)
    ON CONFLICT (channel_id) DO UPDATE SET is_active = excluded.is_active, failing_since = NULL, failing_code = NULL
"""
_OF: LiteralString = """
    SELECT channel_id FROM notification_channels WHERE organisation = %s AND is_active ORDER BY channel_id
"""
_FAILS: LiteralString = """
    UPDATE notification_channels
    SET failing_since = coalesce(failing_since, clock_timestamp()), failing_code = %s
    WHERE channel_id = %s AND is_active
"""
_WORKS: LiteralString = """
    UPDATE notification_channels SET failing_since = NULL, failing_code = NULL
    WHERE channel_id = %s AND failing_since IS NOT NULL
"""
_FAILING: LiteralString = """
    SELECT count(*) FROM notification_channels WHERE failing_since IS NOT NULL
"""
_LAST: LiteralString = "SELECT event, happened_at FROM told_of_configurations WHERE configuration_id = %s"
_TELL: LiteralString = """
    INSERT INTO told_of_configurations (configuration_id, event, happened_at) VALUES (%s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET event = excluded.event, happened_at = excluded.happened_at
    WHERE told_of_configurations.happened_at < excluded.happened_at
"""
_WAITING_FOR: LiteralString = "SELECT count(*) FROM timers WHERE kind = 'notification' AND body = %s"
_WAITING: LiteralString = """
    SELECT count(*), greatest(0, max(extract(epoch FROM statement_timestamp() - due_at)))
    FROM timers WHERE kind = %s
"""


class RecordedChannels(Answers[NotificationChannel]):
    """`Channels` on an event store, found by a table beside it."""

    KIND = NotificationChannel

    def __init__(self, store: EventStore, pool: Pool) -> None:
        super().__init__(store)
        self._pool = pool

    async def of(self, organisation: str) -> Sequence[NotificationChannel]:
        """Those of an organisation that are active."""
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_OF, (organisation,))).fetchall()
        found = [await self.find(channel_id, organisation) for (channel_id,) in rows]
        return [each for each in found if each is not None and each.state is ChannelState.ACTIVE]

    def beside(self, thing: NotificationChannel, handling: Handling) -> Sequence[Statement]:
        """With a version it is found, or no more; what failed before it is no trouble of its own."""
        organisation = handling.context.organisation
        return [
            Statement(_KEEP, (thing.id, organisation, event.state is ChannelState.ACTIVE))
            for event in thing.pending
            if isinstance(event, ChannelFact)
        ]


class RecordedNotices:
    """`Notices` on an event store and the timers beside it."""

    def __init__(self, store: EventStore, pool: Pool) -> None:
        self._store = store
        self._pool = pool

    @staticmethod
    def due_of(timer: Timer) -> Due:
        """What a timer has brought up."""
        about = timer.body.decode() if timer.kind == OVERDUE else ""
        return Due(timer.name, timer.now, timer, configuration_id=about)

    async def find(self, notification_id: str) -> Notification | None:
        """One of them."""
        return await self._store.find(Notification, notification_id)

    async def configuration(self, configuration_id: str) -> Configuration | None:
        """What it is about."""
        found = await self._store.find(Configuration, configuration_id)
        return found if found is not None and found.has_begun else None

    async def last(self, configuration_id: str) -> Told | None:
        """What happened last to what a configuration saves."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_LAST, (configuration_id,))).fetchone()
        return None if row is None else Told(read_plain(row[0], NotificationEvent), row[1])

    async def waiting(self, channel_id: str) -> int:
        """How many notifications of a channel are not over."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_WAITING_FOR, (channel_id.encode(),))).fetchone()
        return 0 if row is None else int(row[0])

    async def plan(
        self,
        planned: Sequence[Notification],
        handling: Handling,
        *,
        about: str | None = None,
        told: Told | None = None,
        ended: str | None = None,
    ) -> None:
        """Record what is planned, in one transaction with the inbox row."""
        also = [*_fall_due(planned)]
        if about is not None and told is not None:
            also.append(Statement(_TELL, (about, told.event.value, told.happened_at)))
        if ended is not None:
            also.append(cancelled(OVERDUE, ended))
        await self._store.save(*planned, context=handling.context, handled=handling.handled, also=also)

    async def plan_overdue(self, planned: Sequence[Notification], organisation: str, due: Due) -> None:
        """Record what is planned, and end the timer, in one transaction."""
        context = Context(organisation, "service:config", correlation_id=due.id)
        told = Statement(_TELL, (due.configuration_id, NotificationEvent.OVERDUE.value, due.now))
        await self._store.save(*planned, context=context, also=[*_fall_due(planned), told, _timer(due).done()])

    async def settle(self, due: Due, notification: Notification | None, next_at: datetime | None) -> None:
        """Record what is pending, and end the timer or move it, in one transaction."""
        timer = _timer(due)
        also = [timer.done() if next_at is None else timer.moved(next_at)]
        changed: list[Aggregate] = []
        organisation = "none"
        if notification is not None:
            changed, organisation = [notification], notification.organisation or "none"
            also += list(_troubles(notification))
        context = Context(organisation, "service:config", correlation_id=due.id)
        await self._store.save(*changed, context=context, also=also)


class ChannelWatch:
    """What is told of notifications: how many wait, and how many channels nobody hears of anything by.

    None of it makes the process degraded: a receiver is its organisation's to mend, and no other's trouble.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def figures(self) -> Iterable[Metric]:
        """At each scrape."""
        with translated():
            async with self._pool.connection() as connection:
                waiting = await (await connection.execute(_WAITING, (NOTIFICATION,))).fetchone()
                failing = await (await connection.execute(_FAILING)).fetchone()
        count, oldest = waiting or (0, 0)
        return [
            _gauge("wedsync_notifications_waiting", "Notifications that have not arrived and are sent again.", count),
            _gauge("wedsync_notifications_late_seconds", "How long the latest of those has been due.", float(oldest)),
            _gauge(
                "wedsync_notification_channels_failing",
                "Channels whose latest notification was given up.",
                failing[0] if failing else 0,
            ),
        ]


def _gauge(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric((), value)
    return family


def _fall_due(planned: Sequence[Notification]) -> Iterable[Statement]:
    for notification in planned:
        for event in notification.pending:
            if isinstance(event, NotificationPlanned) and not notification.is_over:
                yield set_at(NOTIFICATION, notification.id, event.next_attempt_at, event.channel_id.encode())
        yield from _troubles(notification)


def _troubles(notification: Notification) -> Iterable[Statement]:
    for event in notification.pending:
        match event:
            case NotificationDelivered(channel_id=channel):
                yield Statement(_WORKS, (channel,))
            case NotificationGivenUp(channel_id=channel, code=code):
                yield Statement(_FAILS, (code, channel))


def _timer(due: Due) -> Timer:
    assert isinstance(due.timer, Timer)  # noqa: S101  # `due_of` has put it there
    return due.timer
