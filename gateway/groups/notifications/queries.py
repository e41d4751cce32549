"""Channels and deliveries as resources. Sealed fields are opened here, for people of the organisation."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString
from urllib.parse import urlsplit

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.notifications import (
    CHANNEL_ADDRESS_FIELD,
    CHANNEL_NAME_FIELD,
    ChannelState,
    NotificationEvent,
)
from contracts.reading import read_plain
from gateway.groups.notifications.projection import channel_body, planned_fact
from gateway.groups.notifications.resources import Delivery, DeliveryState, NotificationChannel
from gateway.http.resources import ListPage
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, made_of, page_of

_CHANNELS: LiteralString = """
    SELECT p.channel_id, p.version, p.state, coalesce(q.actor, p.created_by), p.created_at, p.changed_at, p.body::text
    FROM notification_channels p LEFT JOIN requests q ON q.request_id = p.request_id
    WHERE p.organisation = %s
"""
_DELIVERIES: LiteralString = """
    SELECT n.notification_id, n.channel_id, n.fact::text, n.state, n.attempts, n.next_attempt_at, n.code, n.hint,
        n.status, n.changed_at, n.planned_at
    FROM notifications n WHERE n.organisation = %s
"""


class ChannelFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which channels a list shows."""

    state: str | None = None


class DeliveryFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries a list shows; what is None does not narrow it."""

    channel_id: str | None = None
    configuration_id: str | None = None
    state: str | None = None


class ChannelQueries:
    """Reads channels and opens their names."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def one(self, reading: Reading, organisation: str, channel_id: str) -> NotificationChannel:
        """A channel. Raises CHANNEL_UNKNOWN, also where it is another organisation's."""
        query = _CHANNELS + " AND p.channel_id = %s"
        async with reading(organisation) as database:
            row = await (await database.execute(query, (organisation, channel_id))).fetchone()
        if row is None:
            raise PlatformError(errors.CHANNEL_UNKNOWN, "there is no such channel")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: ChannelFilter, *, limit: int, cursor: str | None
    ) -> ListPage[NotificationChannel]:
        """A page of channels, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _CHANNELS,
            [(" AND p.state = %s", wanted.state)],
            partial(self._all_told, organisation),
            key=("p.created_at", "p.channel_id"),
            place=lambda each: Place(each.created_at, each.id),
            cursors=Cursors(self._sealer, organisation, "notification-channels", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[NotificationChannel]:
        """Channels of rows, beside the event loop: what opens their names lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, row) for row in rows])

    def _told(self, organisation: str, row: tuple[Any, ...]) -> NotificationChannel:
        channel_id, version, state, created_by, created_at, changed_at, stored = row
        body = channel_body(stored)
        fields = OpenedFields(self._sealer, organisation)
        name = fields.text(CHANNEL_NAME_FIELD, body.name, "name")
        address = fields.text(CHANNEL_ADDRESS_FIELD, body.address, "host")
        return NotificationChannel(
            id=channel_id,
            version=version,
            state=read_plain(state, ChannelState),
            name=name,
            kind=body.kind,
            # What is behind the host may be known to its owner alone.
            host=None if address is None else urlsplit(address).hostname,
            secret=body.secret,
            events=list(body.events),
            configuration_ids=list(body.configuration_ids),
            quiet_hours=body.quiet_hours,
            created_by=created_by,
            created_at=created_at,
            changed_at=changed_at,
            unreadable_fields=fields.unreadable,
        )


async def deliveries(
    reading: Reading, sealer: Sealer, organisation: str, wanted: DeliveryFilter, *, limit: int, cursor: str | None
) -> ListPage[Delivery]:
    """A page of deliveries, the latest first. Raises INVALID_CURSOR."""
    planned_at: dict[str, datetime] = {}

    def told(row: tuple[Any, ...]) -> Delivery:
        planned_at[row[0]] = row[10]
        return _delivery(row)

    return await page_of(
        reading,
        organisation,
        _DELIVERIES,
        [
            (" AND n.channel_id = %s", wanted.channel_id),
            (" AND n.configuration_id = %s", wanted.configuration_id),
            (" AND n.state = %s", wanted.state),
        ],
        partial(made_of, make=told),
        key=("n.planned_at", "n.notification_id"),
        place=lambda each: Place(planned_at[each.id], each.id),
        cursors=Cursors(sealer, organisation, "deliveries", wanted),
        limit=limit,
        cursor=cursor,
    )


async def delivery(reading: Reading, organisation: str, delivery_id: str) -> Delivery:
    """One. Raises NOT_FOUND, also where it is another organisation's."""
    query = _DELIVERIES + " AND n.notification_id = %s"
    async with reading(organisation) as database:
        row = await (await database.execute(query, (organisation, delivery_id))).fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such delivery")
    return _delivery(row)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    notification_id, channel_id, stored, state, attempts, next_attempt_at, code, hint, status, changed_at, _ = row
    fact = planned_fact(stored)
    return Delivery(
        id=notification_id,
        channel_id=channel_id,
        event=read_plain(fact["event"], NotificationEvent),
        event_id=fact["eventId"],
        configuration_id=fact.get("configurationId"),
        execution_id=fact.get("executionId"),
        event_code=fact.get("code"),
        due_at=_time(fact.get("dueAt")),
        is_wedding_critical=fact.get("isWeddingCritical", False),
        happened_at=read_plain(fact["happenedAt"], datetime),
        state=read_plain(state, DeliveryState),
        attempts=attempts,
        next_attempt_at=next_attempt_at,
        code=code,
        hint=hint,
        status=status,
        changed_at=changed_at,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else read_plain(text, datetime)
