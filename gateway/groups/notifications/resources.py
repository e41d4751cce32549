"""Notification channels and deliveries as the API takes and gives them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.notifications import ChannelKind, ChannelState, NotificationEvent, QuietHours, SecretName
from contracts.reading import Growing
from gateway.http.fields import Printable, Timestamp, Uuid
from gateway.http.resources import Body, Resource

AddressText = Annotated[str, Meta(min_length=1, max_length=2000, description="`https://HOST/PATH`, in ASCII.")]


class NewNotificationChannel(Body, frozen=True, kw_only=True):
    """Who is to be told of what.

    `kind`: a `webhook` is sent signed requests (standardwebhooks.com) at its `url`; a `service` that people use is told
    by a whole address which is a secret. `secret`: the name of a secret that an operator has added for the
    organisation. `events`: of what. `configurationIds`: of which configurations, none for all. `quietHours`: when
    nothing is sent but failures of configurations of critical weddings; the rest is sent at their end.
    """

    name: Printable
    kind: ChannelKind
    secret: SecretName
    events: Annotated[tuple[NotificationEvent, ...], Meta(min_length=1, max_length=20)]
    url: AddressText | None = None
    configuration_ids: Annotated[tuple[Uuid, ...], Meta(max_length=200)] = ()
    quiet_hours: QuietHours | None = None


class NotificationChannel(Resource, frozen=True, kw_only=True):
    """A channel as it is in force; `version` is its ETag. `url` is shown as far as its host; `unreadableFields` are
    null for want of a key.
    """

    id: str
    version: int
    state: ChannelState
    name: str | None
    kind: ChannelKind
    host: str | None
    secret: str
    events: list[NotificationEvent]
    configuration_ids: list[str]
    quiet_hours: QuietHours | None
    created_by: str
    created_at: Timestamp
    changed_at: Timestamp
    unreadable_fields: list[str] = msgspec.field(default_factory=list)


class DeliveryState(Growing):
    """What became of a notification: it waits to be sent (again), has arrived, or is sent no more."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


class Delivery(Resource, frozen=True, kw_only=True):
    """One event, told to one channel. `id` is the `webhook-id`. `code`, `hint`, `status`: why the latest attempt was in
    vain, with the status that the receiver has answered; `eventCode`: why what it tells of has happened.
    """

    id: str
    channel_id: str
    event: NotificationEvent
    event_id: str
    configuration_id: str | None
    execution_id: str | None
    event_code: str | None
    due_at: Timestamp | None
    is_wedding_critical: bool
    happened_at: Timestamp
    state: DeliveryState
    attempts: int
    next_attempt_at: Timestamp | None
    code: str | None
    hint: str | None
    status: int | None
    changed_at: Timestamp
