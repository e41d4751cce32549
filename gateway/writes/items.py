"""Requests for one of several things that are asked for at once, as the read model of requests keeps them."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import msgspec

from contracts import errors
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.refusal import Refusal
from gateway.http.problems import WrongFields, problem_of
from gateway.projections.applied import Database
from gateway.writes.declaration import Write, declared
from gateway.writes.refused import Refused
from gateway.writes.resources import ItemResult, RequestState

T = TypeVar("T")

TOLD_MAX = 5000
"""Wrong fields of all items together that an error tells; how many more there are is in its context."""
_AT_ONCE = 100
"""Items that are told before it is the others' turn."""

SHOW = """
    INSERT INTO requests (request_id, organisation, kind, resource_id, actor, submitted_at, bulk_id, position, state,
        code, field, hint, wrong, answered_at)
    SELECT request_id, organisation, kind, resource_id, actor, submitted_at, bulk_id, position, state,
        code, field, hint, wrong, answered_at
    FROM json_populate_recordset(NULL::requests, %s) ON CONFLICT (request_id) DO NOTHING
"""
_ITEMS = """
    SELECT i.kind, i.resource_id, i.position, i.state, i.code, i.field, i.hint, i.wrong::text, b.state, b.code, b.hint
    FROM requests i LEFT JOIN requests b ON b.request_id = i.bulk_id
    WHERE i.organisation = %s AND i.bulk_id = %s ORDER BY i.position
"""


def batched(several: Sequence[T], number: int) -> Iterator[Sequence[T]]:
    """Parts of a sequence, so many at a time."""
    return (several[place : place + number] for place in range(0, len(several), number))


@cache
def item_writes() -> Mapping[type[Event], Write[Any]]:
    """The writes that ask for one thing, by the events that say that it is asked for among several."""
    of = {type(write): write for write in declared().values()}
    found = [each.ITEMS for each in declared().values() if each.ITEMS is not None]
    return {event: of[items.of] for items in found for event in (items.submitted, items.refused)}


def item_row(write: Write[Any], event: Any, *, organisation: str, actor: str, time: datetime) -> dict[str, object]:
    """The row of an item, as its event says: every column."""
    refusal = event if isinstance(event, Refusal) else None
    return {
        "request_id": event.request_id,
        "organisation": organisation,
        "kind": write.NAME,
        "resource_id": getattr(event, write.OF.about),
        "actor": actor,
        "submitted_at": time,
        "bulk_id": event.bulk_id,
        "position": event.position,
        "state": RequestState.PENDING if refusal is None else RequestState.REFUSED,
        "code": None if refusal is None else refusal.code,
        "field": None if refusal is None else refusal.field,
        "hint": None if refusal is None else refusal.hint,
        "wrong": None if refusal is None else refusal.wrong or None,
        "answered_at": None if refusal is None else time,
    }


def row_of(write: Write[Any], event: Event, envelope: Envelope) -> dict[str, object]:
    """The same of what was published."""
    return item_row(write, event, organisation=envelope.organisation, actor=envelope.actor, time=envelope.time)


async def results(database: Database, organisation: str, bulk_id: str) -> list[ItemResult]:
    """What became of each item of a request, in their order. Empty where it has none."""
    rows = await (await database.execute(_ITEMS, (organisation, bulk_id))).fetchall()
    told = []
    for place, row in enumerate(rows, start=1):
        told.append(_result(row))
        if place % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return told


async def of_items(database: Database, organisation: str, bulk_id: str) -> PlatformError | None:
    """Every wrong field of every item of a request that was refused; None where no item has a refusal of its own."""
    rows = await (await database.execute(_ITEMS, (organisation, bulk_id))).fetchall()
    every: list[PlatformError] = []
    for place, row in enumerate(rows, start=1):
        refused = _refused(row)
        if refused is not None and refused.code != errors.BULK_REFUSED.code:
            every += at_item(row[2], refused.error())
        if place % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return wrong_items(every) if every else None


def at_item(position: int, error: PlatformError) -> list[PlatformError]:
    """What is wrong with an item, told by the path in the whole body."""
    every = error.every if isinstance(error, WrongFields) else (error,)
    fields = [f"items[{position}].{each.field}" if each.field else f"items[{position}]" for each in every]
    return [
        PlatformError(each.code, each.message, field=field, hint=each.hint)
        for each, field in zip(every, fields, strict=True)
    ]


def wrong_items(every: Sequence[PlatformError]) -> WrongFields:
    """The error for all that is wrong with items."""
    error = WrongFields(every[:TOLD_MAX])
    if len(every) > TOLD_MAX:
        error.context["untold"] = len(every) - TOLD_MAX
    return error


def _refused(row: tuple[Any, ...]) -> Refused | None:
    state, code, field, hint, wrong = row[3:8]
    return Refused.read(code, field, hint, wrong) if state == RequestState.REFUSED else None


def _result(row: tuple[Any, ...]) -> ItemResult:
    kind, resource_id, position, state = row[:4]
    refused = _refused(row)
    if state == RequestState.PENDING and row[8] == RequestState.REFUSED:
        # Its own answer never comes: all of it was given up.
        state, refused = RequestState.REFUSED, Refused(row[9], None, row[10])
    write = declared().get(kind)
    path = write.resource_path(resource_id) if write is not None and state == RequestState.ACCEPTED else None
    return ItemResult(
        index=position,
        state=RequestState(state),
        id=resource_id if path is not None else None,
        resource=path,
        problem=None if refused is None else _problem(refused),
    )


def _problem(refused: Refused) -> Any:
    problem = problem_of(refused.error())
    return msgspec.structs.replace(problem, trace_id=None)
