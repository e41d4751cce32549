"""What each operation of the group takes and gives, by the name of its handler."""

from contracts import errors
from gateway.groups.notifications.examples import CHANNEL, CHANNELS, DELIVERIES, DELIVERY
from gateway.groups.notifications.resources import Delivery, NotificationChannel
from gateway.http.resources import ListPage
from gateway.openapi.operation import Answer, Operation

_KEYS = (errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE)

OPERATIONS = {
    "list_notification_channels": Operation(
        group="Notifications",
        answers=(
            Answer(status=200, description="A page", body=ListPage[NotificationChannel], examples={"one": CHANNELS}),
        ),
        errors=(errors.INVALID_CURSOR, *_KEYS),
    ),
    "show_notification_channel": Operation(
        group="Notifications",
        answers=(
            Answer(
                status=200,
                description="The channel",
                body=NotificationChannel,
                examples={"on-call": CHANNEL},
            ),
        ),
        errors=(errors.CHANNEL_UNKNOWN, *_KEYS),
    ),
    "list_deliveries": Operation(
        group="Notifications",
        answers=(Answer(status=200, description="A page", body=ListPage[Delivery], examples={"one": DELIVERIES}),),
        errors=(errors.INVALID_CURSOR, *_KEYS),
    ),
    "show_delivery": Operation(
        group="Notifications",
        answers=(Answer(status=200, description="The delivery", body=Delivery, examples={"waiting": DELIVERY}),),
        errors=(errors.NOT_FOUND,),
    ),
}
