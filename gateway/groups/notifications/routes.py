"""Notification channels and deliveries: list, show."""

from typing import Annotated, Any

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from contracts import errors
from contracts.notifications import ChannelState
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.notifications.queries import (
    ChannelFilter,
    ChannelQueries,
    DeliveryFilter,
    deliveries,
    delivery,
)
from gateway.groups.notifications.resources import Delivery, DeliveryState, NotificationChannel
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfState = Annotated[ChannelState | None, QueryParameter(name="state", description="Active or retired ones alone")]
OfChannel = Annotated[str | None, QueryParameter(name="channelId", max_length=36, description="Of one channel")]
OfConfiguration = Annotated[
    str | None, QueryParameter(name="configurationId", max_length=36, description="Of one configuration")
]
OfDeliveryState = Annotated[DeliveryState | None, QueryParameter(name="state", description="What became of them")]


@get("/channels", **needs(Right.READ), summary="List notification channels")
async def list_notification_channels(
    request: Request[Any, Any, Any], in_state: OfState = None, limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None
) -> ListPage[NotificationChannel]:
    """Who is told of what in the organisation, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    wanted = ChannelFilter(state=in_state)
    return await ChannelQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, wanted, limit=limit, cursor=cursor
    )


@get(
    "/channels/{channel_id:str}",
    **needs(Right.READ),
    summary="Show a notification channel",
)
async def show_notification_channel(request: Request[Any, Any, Any], channel_id: Id) -> Response[NotificationChannel]:
    """One channel. `ETag` is its version, to be sent as `If-Match` with a change."""
    gateway, principal = parts_of(request), principal_of(request)
    checked_id(channel_id, code=errors.CHANNEL_UNKNOWN)
    shown = await ChannelQueries(gateway.sealer).one(gateway.reading, principal.organisation, channel_id)
    return Response(shown, headers={"ETag": f'"{shown.version}"'})


@get("/deliveries", **needs(Right.READ), summary="List deliveries")
async def list_deliveries(
    request: Request[Any, Any, Any],
    channel_id: OfChannel = None,
    configuration_id: OfConfiguration = None,
    in_state: OfDeliveryState = None,
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
) -> ListPage[Delivery]:
    """What was told to whom and what became of it, the latest first: attempts, why they were in vain, and the next."""
    gateway, principal = parts_of(request), principal_of(request)
    wanted = DeliveryFilter(channel_id=channel_id, configuration_id=configuration_id, state=in_state)
    return await deliveries(gateway.reading, gateway.sealer, principal.organisation, wanted, limit=limit, cursor=cursor)


@get("/deliveries/{delivery_id:str}", **needs(Right.READ), summary="Show a delivery")
async def show_delivery(request: Request[Any, Any, Any], delivery_id: Id) -> Delivery:
    """One event, told to one channel."""
    gateway, principal = parts_of(request), principal_of(request)
    return await delivery(gateway.reading, principal.organisation, checked_id(delivery_id))


HANDLERS = [
    Router(
        "/notifications",
        route_handlers=[list_notification_channels, show_notification_channel, list_deliveries, show_delivery],
    )
]
