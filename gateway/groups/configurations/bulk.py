"""Several configurations at once: each read and judged as one that is submitted by itself, beside the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from chassis.locations import Locations
from contracts import errors
from contracts.configuration import BulkMode
from contracts.configuration_rules import KnownLocation, names_in
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import ConfigurationItemRefused, ConfigurationItemSubmitted
from contracts.reading import decoder_of
from contracts.refusal import WrongField
from gateway.groups.configurations.resources import NewConfiguration, SentConfigurations
from gateway.groups.configurations.sealed import against_subject, require_subject_keys, sealed_body
from gateway.groups.configurations.submitted import as_kept, wrong_by_itself, wrong_with
from gateway.http.bodies import UNREADABLE, invalid_body
from gateway.http.problems import WrongFields
from gateway.reading.shares import Limits, Shares
from gateway.writes.declaration import Asked, New
from gateway.writes.items import at_item, batched, wrong_items

READ_AT_ONCE = 50
"""Items that one thread reads before another request may have it."""
ITEM_TOLD_MAX = 20
"""Wrong fields of an item that its refusal keeps."""
LOOKING = Shares(Limits(each=1, in_all=3, kept=1))
"""Who may have a thousand items looked at at the same time: one request of an organisation."""

_MANY = "SELECT retention_policy_id FROM retention_policies WHERE organisation = %s AND retention_policy_id = ANY(%s)"


@dataclass
class Item:
    """One item. `data`: as it is kept; None where it cannot be read, `sent` then as it came. `wrong`: all of it."""

    position: int
    sent: Any
    data: NewConfiguration | None = None
    wrong: list[PlatformError] = field(default_factory=list)


async def judged(asked: Asked[SentConfigurations]) -> list[Item]:
    """Every item with all that speaks against it. Raises LOCATIONS_UNREADABLE, TOO_MANY_REQUESTS, UNAVAILABLE."""
    organisation = asked.organisation
    async with LOOKING.of(organisation):
        items: list[Item] = []
        for several in batched(list(enumerate(asked.body.items)), READ_AT_ONCE):
            items += await asyncio.to_thread(lambda some: [_read(*each) for each in some], several)
        read = [(item, item.data) for item in items if item.data is not None]
        find = await _locations(asked.gateway.locations, organisation, read)
        for judging in batched(read, READ_AT_ONCE):
            await asyncio.to_thread(_judge, judging, find)
        await _against_policies(asked, read)
        await asked.gateway.sealer.ask(lambda: _against_subjects(asked, read))
        if any(data.data_subject is not None for _, data in read):
            async with asked.gateway.reading(organisation) as database:
                await require_subject_keys(database, asked.gateway.sealer, organisation, [data for _, data in read])
    return items


def _against_subjects(asked: Asked[SentConfigurations], read: Sequence[tuple[Item, NewConfiguration]]) -> None:
    for item, data in read:
        if data.data_subject is not None:
            item.wrong += against_subject(asked.gateway.sealer, asked.organisation, data)


def all_wrong(items: Sequence[Item], mode: BulkMode) -> Sequence[PlatformError]:
    """Why none of them can ever be created; nothing, where some of them may be."""
    refused = [item for item in items if item.wrong]
    if len(refused) < len(items) and (mode is BulkMode.PARTIAL or not refused):
        return ()
    every = [error for item in refused for each in item.wrong for error in at_item(item.position, each)]
    return wrong_items(every).every


def event_of(item: Item, asked: Asked[SentConfigurations], new: New) -> Event:
    """What is recorded of an item: that it was submitted, or that it is refused."""
    about: dict[str, Any] = {
        "request_id": new.request_id,
        "configuration_id": new.resource_id,
        "bulk_id": new.bulk_id,
        "position": item.position,
    }
    if item.data is None or item.wrong:
        first = item.wrong[0]
        wrong = tuple(
            WrongField(field=each.field or "", code=each.code.code, hint=each.hint)
            for each in item.wrong[:ITEM_TOLD_MAX]
        )
        return ConfigurationItemRefused(**about, code=first.code.code, field=first.field, hint=first.hint, wrong=wrong)
    body = sealed_body(asked.gateway.sealer, asked.organisation, item.data)
    return ConfigurationItemSubmitted(**about, body=body, evidence=new.evidence)


def drawn(items: Sequence[Item], asked: Asked[SentConfigurations]) -> list[Callable[[New], Event]]:
    """What makes the event of each item."""
    return [partial(event_of, item, asked) for item in items]


def compared(items: Sequence[Item], mode: BulkMode) -> Any:
    """The body as it is compared with the next of the same key."""
    return {"mode": mode, "items": [item.sent if item.data is None else item.data for item in items]}


def _read(position: int, sent: msgspec.Raw) -> Item:
    """One item, with what is wrong with it by itself."""
    try:
        data = decoder_of(NewConfiguration).decode(sent)
    except UNREADABLE as error:
        told = invalid_body(bytes(sent), NewConfiguration, error)
        wrong = list(told.every) if isinstance(told, WrongFields) else [told]
        return Item(position, msgspec.json.decode(sent), wrong=wrong)
    return Item(position, None, as_kept(data), wrong_by_itself(data))


async def _locations(
    locations: Locations, organisation: str, read: Sequence[tuple[Item, NewConfiguration]]
) -> dict[tuple[str, str], dict[str, KnownLocation]]:
    """What is known of the locations, by the source and the path below it that are meant.

    Each is asked for once: a disk that does not answer is waited for once, however many items name it.
    """
    names = {name for _, data in read for name in names_in(data.source_location, data.storage_destinations)}
    known = await locations.known(names, organisation)
    found: dict[tuple[str, str], dict[str, KnownLocation]] = {}
    for item, data in read:
        source = _source_of(item, data)
        if source in found:
            continue
        at = known.get(source[0])
        if at is None or not at.answers:
            found[source] = known
            continue
        ((_, told),) = (await locations.known([source[0]], organisation, source=source)).items()
        found[source] = {**known, source[0]: told}
        if not told.answers:
            known = found[source]
    return found


def _source_of(item: Item, data: NewConfiguration) -> tuple[str, str]:
    # A path that is wrong by itself is looked for nowhere.
    is_wrong = any(each.field == "sourceIdentifier" for each in item.wrong)
    return data.source_location, "" if is_wrong else data.source_identifier


def _judge(
    several: Sequence[tuple[Item, NewConfiguration]], find: dict[tuple[str, str], dict[str, KnownLocation]]
) -> None:
    for item, data in several:
        item.wrong += wrong_with(data, find[_source_of(item, data)].get)


async def _against_policies(asked: Asked[SentConfigurations], read: Sequence[tuple[Item, NewConfiguration]]) -> None:
    """That there is no such retention policy, where there is none."""
    named = sorted({data.retention_policy_id for _, data in read if data.retention_policy_id is not None})
    if not named:
        return
    async with asked.gateway.reading(asked.organisation) as database:
        rows = await (await database.execute(_MANY, (asked.organisation, named))).fetchall()
    there = {policy for (policy,) in rows}
    for item, data in read:
        if data.retention_policy_id is not None and data.retention_policy_id not in there:
            code = errors.RETENTION_POLICY_UNKNOWN
            item.wrong.append(PlatformError(code, "there is nothing of this id", field="retentionPolicyId"))
