"""What telling needs of the outside."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from chassis.deciding import Things
from chassis.handling import Handling
from contracts.errors import ErrorCode
from contracts.notifications import ChannelBody, NotificationEvent
from services.config.domain import Configuration
from services.config.telling.domain import Notification, NotificationChannel


class Channels(Things[NotificationChannel], Protocol):
    """The record of channels."""

    async def of(self, organisation: str) -> Sequence[NotificationChannel]:
        """Those of an organisation that are active. Raises UNAVAILABLE."""
        ...


class Told(msgspec.Struct, frozen=True):
    """What happened last to what a configuration saves, as it was told, and when."""

    event: NotificationEvent
    happened_at: datetime


class Due(msgspec.Struct, frozen=True):
    """What has come up: a notification to be sent, or a run that should have ended. `now`: the database's time."""

    id: str
    now: datetime
    timer: object
    configuration_id: str = ""


class Notices(Protocol):
    """The record of notifications. Each that is not over falls due, in the transaction of what is recorded of it."""

    async def find(self, notification_id: str) -> Notification | None:
        """One of them. Raises EVENT_UNREADABLE, UNAVAILABLE."""
        ...

    async def configuration(self, configuration_id: str) -> Configuration | None:
        """What it is about."""
        ...

    async def last(self, configuration_id: str) -> Told | None:
        """What happened last to what a configuration saves."""
        ...

    async def waiting(self, channel_id: str) -> int:
        """How many notifications of a channel are not over."""
        ...

    async def plan(
        self,
        planned: Sequence[Notification],
        handling: Handling,
        *,
        about: str | None = None,
        told: Told | None = None,
        ended: str | None = None,
    ) -> None:
        """Record what is planned, and the message as handled: all or none. Raises CONCURRENT_CHANGE.

        `told`: what has happened to the configuration `about`; an older one than is known changes nothing. `ended`: a
        run that is waited for no more.
        """
        ...

    async def plan_overdue(self, planned: Sequence[Notification], organisation: str, due: Due) -> None:
        """Record what is planned since a run is overdue, that this happened last, and that it is waited for no more."""
        ...

    async def settle(self, due: Due, notification: Notification | None, next_at: datetime | None) -> None:
        """Record what is pending of one, and when it falls due next; None: it is over."""
        ...


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: `id`, the same each time; what happened, as a program reads it and as people do."""

    id: str
    organisation: str
    type: str
    body: bytes
    title: str
    text: str
    is_alarm: bool = False


class Sent(msgspec.Struct, frozen=True):
    """What became of one attempt. `code`: why it did not arrive, as far as is known; `is_final`: nor ever will.

    `is_put_off`: none was made, for others are under way.
    """

    code: ErrorCode | None = None
    status: int | None = None
    hint: str = ""
    is_final: bool = False
    is_put_off: bool = False


class Receivers(Protocol):
    """Who is told."""

    async def trouble(self, body: ChannelBody, organisation: str) -> Sequence[tuple[ErrorCode, str, str]]:
        """What a channel's secret and address lack: a code, the field, what to do. Raises KEYS_UNREACHABLE."""
        ...

    async def send(self, body: ChannelBody, message: Message, sent_at: datetime) -> Sent:
        """Send a message once, within seconds. It may have arrived although nothing says so."""
        ...
