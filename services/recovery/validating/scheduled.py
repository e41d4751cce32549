"""Validations that begin by themselves: every byte of every place is read within a set time, within a day's budget.

Promise: of an organisation one place is read at a time, and none before what was read last is paid for by the budget.
Of several that are due the one goes first that was begun with the longest ago: one that is away keeps no other from
being read. What a validation by request has read whole counts as well. What was not read within the time is told,
whatever keeps it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from chassis.ids import derived_id
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.gateway_events import Evidence
from contracts.storage_requests import RecoveryValidationRequested
from contracts.validation_events import ValidationDepth
from services.recovery.ports import Points
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import ValidationOrder

LOOK = timedelta(hours=6)
"""What was begun with and is not proven by then is begun with again; and so often is looked at what is overdue."""
SHARE = 2
"""A place is read once half of its time is over: the other half is for what keeps it from being read."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A location where points of an organisation lie. `since`: when it was seen first; `read_bytes`: by its proof.

    `begun_at`: when a validation of it was last begun by itself.
    """

    tier: str
    location: str
    newest_point: str
    since: datetime
    proven_at: datetime | None = None
    read_bytes: int = 0
    begun_at: datetime | None = None

    def due_at(self, within: timedelta) -> datetime:
        """When it is to be read: at once where that was never done."""
        return self.since if self.proven_at is None else self.proven_at + within / SHARE


class Round(msgspec.Struct, frozen=True):
    """An organisation's turn to be looked at. `now`: the database's time; `timer`: the record's own."""

    organisation: str
    now: datetime
    timer: object


class Rounds(Protocol):
    """What falls due, and what was proven when."""

    async def places(self, organisation: str) -> Sequence[Place]:
        """Where the organisation's points lie, each with its proof."""
        ...

    async def is_busy(self, organisation: str) -> bool:
        """Whether a validation of the organisation has not ended."""
        ...

    async def record(
        self, round_: Round, following: datetime, validation: RecoveryValidation | None, order: ValidationOrder | None
    ) -> None:
        """Record a validation with its claim, and the next round: all or none."""
        ...

    async def tell_overdue(self, within: timedelta) -> None:
        """Have readiness say which places were not read within the time."""
        ...


def when_round_came(
    places: Sequence[Place], now: datetime, *, within: timedelta, bytes_a_day: int
) -> tuple[Place | None, datetime]:
    """The place that is read now, if any, and when is looked again. Pure."""
    soonest = now + LOOK
    paid = [
        each.proven_at + timedelta(days=each.read_bytes / bytes_a_day) for each in places if each.proven_at is not None
    ]
    if (free := max(paid, default=now)) > now:
        return None, min(free, soonest)
    due = [each for each in places if each.due_at(within) <= now]
    if not due:
        return None, min([soonest, *(each.due_at(within) for each in places)])
    return min(due, key=lambda each: (each.begun_at or each.since, each.due_at(within), each.location)), soonest


class ScheduledValidations:
    """Begins validations. `within_days`: 0 for none."""

    def __init__(self, rounds: Rounds, points: Points, *, within_days: int, bytes_a_day: int) -> None:
        self._rounds = rounds
        self._points = points
        self._within = timedelta(days=within_days)
        self._bytes_a_day = bytes_a_day

    async def turn(self, round_: Round) -> None:
        """Look at an organisation, and begin with what is due."""
        if not self._within:
            await self._rounds.record(round_, round_.now + LOOK, None, None)
            return
        places = await self._rounds.places(round_.organisation)
        place, following = when_round_came(places, round_.now, within=self._within, bytes_a_day=self._bytes_a_day)
        if place is not None and await self._rounds.is_busy(round_.organisation):
            place = None
        validation, order = (None, None) if place is None else await self._drawn_up(round_, place)
        try:
            await self._rounds.record(round_, following, validation, order)
        except PlatformError as busy:
            if busy.code is not errors.VALIDATION_OPEN:
                raise
            await self._rounds.record(round_, following, None, None)
        await self._rounds.tell_overdue(self._within)

    async def _drawn_up(
        self, round_: Round, place: Place
    ) -> tuple[RecoveryValidation, ValidationOrder] | tuple[None, None]:
        point = await self._points.find(place.newest_point, round_.organisation)
        if point is None or point.is_gone or place.tier not in set(Tier):
            return None, None
        identity = derived_id(round_.now, round_.organisation, place.location)
        validation = RecoveryValidation(identity)
        request = RecoveryValidationRequested(
            request_id=identity,
            validation_id=identity,
            recovery_point_id=point.recovery_point_id,
            depth=ValidationDepth.WHOLE,
            tiers=(Tier(place.tier),),
            evidence=Evidence(assurance="schedule"),
        )
        validation.accept(request, point)
        here = tuple(each for each in point.places if each.location == place.location)
        return validation, ValidationOrder(snapshot_id=point.snapshot_id, places=here[:1], depth=ValidationDepth.WHOLE)
