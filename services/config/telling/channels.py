"""What is decided about channels: which are put in force, changed, retired and tested."""

from typing import Any
from zoneinfo import available_timezones

from chassis.deciding import Deciding, Things
from chassis.handling import Handling
from chassis.ids import moment_of
from contracts import errors
from contracts.config_events import (
    NotificationChannelChangeRefused,
    NotificationChannelRefused,
    NotificationTestAccepted,
    NotificationTestRefused,
)
from contracts.errors import PlatformError
from contracts.gateway_events import (
    NotificationChannelChangeSubmitted,
    NotificationChannelSubmitted,
    NotificationTestRequested,
)
from contracts.notifications import CHANNELS_MAX, ChannelBody, NotificationEvent, body_objections
from contracts.refusal import Objected, Objection
from services.config.domain import Configuration
from services.config.telling.domain import Notification, NotificationChannel
from services.config.telling.ports import Channels, Notices, Receivers

_ZONES = frozenset(available_timezones())


class ChannelDecisions:
    """Creates, changes and tests channels, or refuses to."""

    def __init__(
        self, channels: Channels, notices: Notices, receivers: Receivers, configurations: Things[Configuration]
    ) -> None:
        self._channels = channels
        self._notices = notices
        self._receivers = receivers
        self._configurations = configurations
        self.of_channels = Deciding(NotificationChannel, channels, about="channel_id", missing=errors.CHANNEL_UNKNOWN)

    async def decide(self, request: NotificationChannelSubmitted, handling: Handling) -> None:
        """Answer one submission, in the record."""
        organisation = handling.context.organisation
        channel = NotificationChannel(request.channel_id)
        why = await self._against(request.body, organisation)
        if why is None and len(await self._channels.of(organisation)) >= CHANNELS_MAX:
            why = PlatformError(errors.TOO_MANY_CHANNELS, f"there are {CHANNELS_MAX} channels already")
        if why is None:
            channel.create(request)
        else:
            channel.record(NotificationChannelRefused.of(request, why))
        await self._channels.record_answer(channel, handling)

    async def decide_change(self, request: NotificationChannelChangeSubmitted, handling: Handling) -> None:
        """The same of one change, of the version that whoever asks has seen."""

        async def found(channel: NotificationChannel, request: Any) -> PlatformError | None:  # noqa: ARG001  # as asked
            return await self._against(request.body, handling.context.organisation)

        by = self.of_channels.by(NotificationChannel.change, NotificationChannelChangeRefused, beside=found)
        await by(request, handling)

    async def test(self, request: NotificationTestRequested, handling: Handling) -> None:
        """Have a channel sent what says that it is a test: at once, whatever it is for, and in quiet hours as well."""
        organisation = handling.context.organisation
        channel = await self._channels.find(request.channel_id, organisation)
        thing = channel or NotificationChannel(request.request_id)
        try:
            if channel is None:
                raise PlatformError(errors.CHANNEL_UNKNOWN, "there is nothing of this id")
            NotificationChannel.in_force(channel)
        except PlatformError as why:
            thing.record(NotificationTestRefused.of(request, why))
            await self._channels.record_answer(thing, handling)
            return
        asked_at = moment_of(request.request_id)
        notification = Notification.of(request.request_id, channel.id)
        notification.record(
            NotificationTestAccepted(
                request_id=request.request_id,
                notification_id=notification.id,
                channel_id=channel.id,
                event=NotificationEvent.TEST,
                event_id=request.request_id,
                happened_at=asked_at,
                next_attempt_at=asked_at,
            )
        )
        await self._notices.plan([notification], handling)

    async def _against(self, body: ChannelBody, organisation: str) -> PlatformError | None:
        every = list(body_objections(body.kind, body.events, body.quiet_hours, _ZONES))
        for number, each in enumerate(body.configuration_ids):
            if await self._configurations.find(each, organisation) is None:
                field = f"configurationIds[{number}]"
                every.append(Objection(errors.CONFIGURATION_UNKNOWN, field, errors.CONFIGURATION_UNKNOWN.hint))
        every += [Objection(*each) for each in await self._receivers.trouble(body, organisation)]
        return Objected(every) if every else None
