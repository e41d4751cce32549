"""The writes of the group."""

from collections.abc import Iterator
from typing import Any, ClassVar
from zoneinfo import available_timezones

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from contracts import config_events as facts
from contracts import errors
from contracts import gateway_events as requests
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.notifications import (
    CHANNEL_ADDRESS_FIELD,
    CHANNEL_NAME_FIELD,
    ChannelBody,
    address_objections,
    body_objections,
)
from contracts.refusal import Refusal
from gateway.auth.rights import Right
from gateway.groups.notifications import examples
from gateway.groups.notifications.queries import ChannelQueries
from gateway.groups.notifications.resources import NewNotificationChannel, NotificationChannel
from gateway.http.problems import error_of_code
from gateway.http.texts import kept, wrong_texts
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import CHANNEL, CONFIGURATION

_ZONES = frozenset(available_timezones())


class CreateNotificationChannel(Write[NewNotificationChannel]):
    """Have somebody told of what happens to backups: a program by signed requests, or people by a service.

    Each event is told to each channel at least once, with an id by which a receiver knows what it has already; what
    does not arrive is sent again for about a day. `GET /notifications/deliveries` shows what became of it.
    """

    NAME = "create-notification-channel"
    SUMMARY = "Create a notification channel"
    PATH = "/notifications/channels"
    RIGHT = Right.CONFIGURE
    BODY = NewNotificationChannel
    EXAMPLE = ("on-call", examples.NEW_CHANNEL)
    REQUEST: ClassVar[type[Event]] = requests.NotificationChannelSubmitted
    ACCEPTED: ClassVar[type[Event]] = facts.NotificationChannelCreated
    REFUSED: ClassVar[type[Refusal]] = facts.NotificationChannelRefused
    OF = CHANNEL
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = (
        errors.TOO_MANY_CHANNELS,
        errors.SECRET_UNKNOWN,
        errors.SECRET_UNUSABLE,
        errors.RECEIVER_NOT_PUBLIC,
        errors.CONFIGURATION_UNKNOWN,
    )
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="Created",
            body=NotificationChannel,
            examples={"created": examples.CHANNEL},
            headers={**LOCATION, **ETAG},
        ),
    )

    async def draft(self, asked: Asked[NewNotificationChannel]) -> Draft:
        """Every field that is wrong, and the rest as it is kept."""
        wrong: list[PlatformError] = []
        async with asked.gateway.reading(asked.organisation) as database:
            if self.is_targeted:
                await self.OF.check(database, asked.organisation, asked.target)
            for number, each in enumerate(asked.body.configuration_ids):
                try:
                    await CONFIGURATION.check(database, asked.organisation, each)
                except PlatformError as error:
                    if error.code is not errors.CONFIGURATION_UNKNOWN:
                        raise
                    field = f"configurationIds[{number}]"
                    wrong.append(PlatformError(error.code, error.message, field=field))
        data = msgspec.structs.replace(
            asked.body,
            name=kept(asked.body.name),
            events=tuple(dict.fromkeys(asked.body.events)),
            configuration_ids=tuple(dict.fromkeys(asked.body.configuration_ids)),
        )
        sealer, organisation = asked.gateway.sealer, asked.organisation

        def body() -> ChannelBody:
            address = None if data.url is None else sealer.seal(organisation, CHANNEL_ADDRESS_FIELD, data.url)
            return ChannelBody(
                name=sealer.seal(organisation, CHANNEL_NAME_FIELD, data.name),
                kind=data.kind,
                secret=data.secret,
                events=data.events,
                address=address,
                configuration_ids=data.configuration_ids,
                quiet_hours=data.quiet_hours,
            )

        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                channel_id=new.resource_id,
                body=body(),
                evidence=new.evidence,
                **asked.expected,
            ),
            body=data,
            wrong=[*_wrong_fields(asked.body), *wrong],
        )

    async def shown(
        self, asked: Asked[NewNotificationChannel], resource_id: str
    ) -> Response[NotificationChannel] | Superseded:
        """The channel as it is in force, if that is what was accepted: the version after what was seen."""
        made = await ChannelQueries(asked.gateway.sealer).one(asked.gateway.reading, asked.organisation, resource_id)
        return self.in_force(asked, made)


class UpdateNotificationChannel(CreateNotificationChannel):
    """Have a channel say what is sent, all of it: fields that are left out are not kept, the url neither.

    `If-Match` is the ETag of what was read; another version in force is answered with 412. What waits to be sent goes
    to where the channel leads when it is sent.
    """

    NAME = "update-notification-channel"
    SUMMARY = "Change a notification channel"
    METHOD = "PUT"
    PATH = "/notifications/channels/{channel_id:str}"
    IF_MATCH = True
    EXAMPLE = ("all-day", msgspec.structs.replace(examples.NEW_CHANNEL, quiet_hours=None))
    REQUEST, ACCEPTED, REFUSED = (
        requests.NotificationChannelChangeSubmitted,
        facts.NotificationChannelUpdated,
        facts.NotificationChannelChangeRefused,
    )
    REFUSALS = (
        errors.CHANNEL_RETIRED,
        *(each for each in CreateNotificationChannel.REFUSALS if each is not errors.TOO_MANY_CHANNELS),
    )
    ANSWERS = (
        Answer(
            status=HTTP_200_OK,
            description="Changed",
            body=NotificationChannel,
            examples={"changed": msgspec.structs.replace(examples.CHANNEL, version=2, quiet_hours=None)},
            headers={**LOCATION, **ETAG},
        ),
    )


class RetireNotificationChannel(Write[None]):
    """Have nothing more sent to a channel, what waits included. It stays, as `retired`, and so does its log."""

    NAME = "retire-notification-channel"
    SUMMARY = "Retire a notification channel"
    METHOD = "DELETE"
    PATH = "/notifications/channels/{channel_id:str}"
    RIGHT = Right.CONFIGURE
    REQUEST, ACCEPTED, REFUSED = (
        requests.NotificationChannelRetirementRequested,
        facts.NotificationChannelRetired,
        facts.NotificationChannelRetirementRefused,
    )
    OF = CHANNEL
    REFUSALS = (errors.CHANNEL_RETIRED,)


class TestNotificationChannel(Write[None]):
    """Have a channel sent a notification that says that it is a test: at once, whatever it is for, in quiet hours, too.

    `GET /notifications/deliveries?channelId=…` shows what became of it.
    """

    NAME = "test-notification-channel"
    SUMMARY = "Test a notification channel"
    PATH = "/notifications/channels/{channel_id:str}/test"
    RIGHT = Right.TEST
    REQUEST, ACCEPTED, REFUSED = (
        requests.NotificationTestRequested,
        facts.NotificationTestAccepted,
        facts.NotificationTestRefused,
    )
    OF = CHANNEL
    REFUSALS = (errors.CHANNEL_RETIRED,)


def _wrong_fields(data: NewNotificationChannel) -> Iterator[PlatformError]:
    yield from wrong_texts(("name", data.name))
    every: list[Any] = [
        *body_objections(data.kind, data.events, data.quiet_hours, _ZONES),
        *address_objections(data.kind, data.url),
    ]
    for each in every:
        yield error_of_code(each.code.code, field=each.field, hint=each.hint)
