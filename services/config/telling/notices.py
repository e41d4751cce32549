"""What becomes of news: who is told of it, and each attempt to."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis.handling import Handling
from chassis.ids import moment_of
from contracts import errors
from contracts.config_events import NotificationDue
from contracts.dr_events import DrTestMissed
from contracts.dr_execution_events import DrNoticeAsked
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.executor_events import BackupCancelled
from contracts.notifications import ALARMS, ASKED_FOR, ChannelState, NotificationEvent
from services.config.domain import Configuration
from services.config.telling.domain import Notification, NotificationChannel
from services.config.telling.gates import BUSY_SECONDS, Gates
from services.config.telling.policies import (
    News,
    held_until,
    is_for,
    pause_after,
    told_as,
    when_run_changed,
)
from services.config.telling.ports import Channels, Due, Notices, Receivers, Sent, Told
from services.config.telling.words import message_of

WAITING_MAX = 1000
"""For one channel: beyond it what is new is given up at once, and told as that."""
_log = logging.getLogger(__name__)


class Telling:
    """Plans who is told of what."""

    def __init__(self, channels: Channels, notices: Notices) -> None:
        self._channels = channels
        self._notices = notices

    async def tell(self, event: Event, handling: Handling) -> None:
        """Plan what is sent because of a fact: once for each channel, whoever hears of it again."""
        news = when_run_changed(event)
        if news is None:
            ended = getattr(event, "execution_id", None)
            await self._notices.plan([], handling, ended=ended)
            return
        event_id = handling.handled.event_id
        happened_at = moment_of(event_id)
        planned: list[Notification] = []
        # Most organisations have no channel, or none for this: then there is nothing to be looked at.
        if channels := await self._listening(news, happened_at, handling.context.organisation):
            configuration = await self._notices.configuration(news.configuration_id)
            before = await self._notices.last(news.configuration_id)
            # Of a configuration that is not there its owner has said so already.
            if configuration is not None and configuration.organisation == handling.context.organisation:
                was = None if before is None or before.happened_at >= happened_at else before.event
                planned = await self._planned(news, event_id, happened_at, configuration, channels, was)
        told = Told(news.event, happened_at) if news.event is not NotificationEvent.STARTED else None
        await self._notices.plan(
            planned,
            handling,
            about=news.configuration_id,
            told=told,
            ended=news.execution_id if news.is_end else None,
        )

    async def tell_of_plan(self, asked: DrNoticeAsked | DrTestMissed, handling: Handling) -> None:
        """Plan what a disaster recovery plan tells (a step, its failure, a missed test): to each channel named.

        One that is not there, or retired, is given up at once, so that who asked hears of it.
        """
        event_id, planned = handling.handled.event_id, []
        for notice in asked.notices:
            if await self._notices.find(notice.notification_id) is not None:
                continue
            notification = Notification(notice.notification_id)
            notification.record(
                NotificationDue(
                    notification_id=notification.id,
                    channel_id=notice.channel_id,
                    event=NotificationEvent.DISASTER_RECOVERY,
                    event_id=event_id,
                    happened_at=moment_of(event_id),
                    next_attempt_at=moment_of(event_id),
                    execution_id=asked.execution_id if isinstance(asked, DrNoticeAsked) else None,
                    due_at=asked.due_at if isinstance(asked, DrTestMissed) else None,
                    is_wedding_critical=asked.is_wedding_critical,
                    code=asked.code,
                )
            )
            channel = await self._channels.find(notice.channel_id, handling.context.organisation)
            if channel is None or channel.state is not ChannelState.ACTIVE:
                code = errors.CHANNEL_UNKNOWN if channel is None else errors.CHANNEL_RETIRED
                notification.give_up(code, attempts=0, status=None)
            planned.append(notification)
        await self._notices.plan(planned, handling)

    async def note_cancellation(self, event: BackupCancelled, handling: Handling) -> None:
        """Whoever had a run stopped knows of it: it is waited for no more, and nobody is told."""
        await self._notices.plan([], handling, ended=event.execution_id)

    async def overdue(self, due: Due) -> None:
        """A run that fell due is not known to have ended."""
        configuration = await self._notices.configuration(due.configuration_id)
        planned: list[Notification] = []
        organisation = "none" if configuration is None else configuration.organisation or "none"
        if configuration is not None:
            news = News(
                event=NotificationEvent.OVERDUE,
                configuration_id=configuration.id,
                execution_id=due.id,
                code=errors.BACKUP_OVERDUE.code,
                due_at=moment_of(due.id),
            )
            channels = await self._listening(news, due.now, organisation)
            planned = await self._planned(news, due.id, due.now, configuration, channels, None)
        await self._notices.plan_overdue(planned, organisation, due)

    async def _listening(self, news: News, happened_at: datetime, organisation: str) -> Sequence[NotificationChannel]:
        """The channels that are for a configuration. What was before there was one is no news to it."""
        return [
            channel
            for channel in await self._channels.of(organisation)
            if is_for(channel.in_force(), news.configuration_id) and happened_at >= moment_of(channel.id)
        ]

    async def _planned(
        self,
        news: News,
        event_id: str,
        happened_at: datetime,
        configuration: Configuration,
        channels: Sequence[NotificationChannel],
        before: NotificationEvent | None,
    ) -> list[Notification]:
        is_critical = configuration.body is not None and configuration.body.is_wedding_critical
        planned = []
        for channel in channels:
            body = channel.in_force()
            event = told_as(news.event, before, frozenset(body.events))
            notification = Notification.of(event_id, channel.id)
            if event is None or await self._notices.find(notification.id) is not None:
                continue
            held = held_until(body.quiet_hours, event, happened_at, is_wedding_critical=is_critical)
            notification.record(
                NotificationDue(
                    notification_id=notification.id,
                    channel_id=channel.id,
                    event=event,
                    event_id=event_id,
                    happened_at=happened_at,
                    next_attempt_at=held or happened_at,
                    configuration_id=configuration.id,
                    execution_id=news.execution_id,
                    code=news.code,
                    due_at=news.due_at,
                    is_wedding_critical=is_critical,
                )
            )
            is_alarm = is_critical and event in ALARMS  # Which nothing that waits for the morning keeps back.
            if not is_alarm and await self._notices.waiting(channel.id) >= WAITING_MAX:
                notification.give_up(errors.CHANNEL_FULL, attempts=0, status=None)
            planned.append(notification)
        return planned


class Attempts:
    """Sends what is due."""

    def __init__(self, channels: Channels, notices: Notices, receivers: Receivers) -> None:
        self._channels = channels
        self._notices = notices
        self._receivers = receivers
        self._gates = Gates()

    async def attempt(self, due: Due) -> None:
        """Send a notification once, and record what became of it.

        Who dies in between leaves it to be sent again, with the same id: at least once.
        """
        notification = await self._notices.find(due.id)
        if notification is None or notification.planned is None or notification.is_over:
            await self._notices.settle(due, None, None)
            return
        planned, organisation = notification.planned, notification.organisation or ""
        channel = await self._channels.find(planned.channel_id, organisation)
        if channel is None or channel.body is None or channel.state is not ChannelState.ACTIVE:
            notification.give_up(errors.CHANNEL_RETIRED, attempts=notification.attempts, status=None)
            await self._notices.settle(due, notification, None)
            return
        held = held_until(
            channel.body.quiet_hours, planned.event, due.now, is_wedding_critical=planned.is_wedding_critical
        )
        if held is not None:
            notification.delay(errors.QUIET, held, attempts=notification.attempts, status=None)
            await self._notices.settle(due, notification, held)
            return
        is_test = planned.event in ASKED_FOR
        wait = self._gates.enter(channel.id, organisation, even_failing=is_test)
        if wait is not None:
            await self._notices.settle(due, None, due.now + timedelta(seconds=wait))
            return
        failed: bool | None = True
        try:
            sent = await self._send(channel, notification, organisation, due.now)
            failed = None if sent.is_put_off else sent.code is not None
        finally:
            self._gates.leave(channel.id, organisation, failed=failed)
        await self._settle(due, notification, sent)

    async def _send(
        self, channel: NotificationChannel, notification: Notification, organisation: str, now: datetime
    ) -> Sent:
        assert channel.body is not None and notification.planned is not None  # noqa: S101, PT018  # as its caller saw
        message = message_of(notification.id, notification.planned, organisation)
        try:
            return await self._receivers.send(channel.body, message, now)
        except PlatformError as error:  # A key that is away, a secret that is gone: it is told, and tried again.
            return Sent(error.code, hint=error.hint)

    async def _settle(self, due: Due, notification: Notification, sent: Sent) -> None:
        attempts = notification.attempts + 1
        if sent.is_put_off:
            await self._notices.settle(due, None, due.now + timedelta(seconds=BUSY_SECONDS))
            return
        if sent.code is None:
            notification.deliver(sent.status)
            await self._notices.settle(due, notification, None)
            return
        pause = None if sent.is_final else pause_after(attempts)
        if pause is None:
            notification.give_up(sent.code, attempts=attempts, hint=sent.hint, status=sent.status)
            about = {"notification": notification.id, "code": sent.code.code, "attempts": attempts}
            _log.warning("a notification is given up", extra=about)
            await self._notices.settle(due, notification, None)
            return
        next_at = due.now + pause
        notification.delay(sent.code, next_at, attempts=attempts, hint=sent.hint, status=sent.status)
        await self._notices.settle(due, notification, next_at)
