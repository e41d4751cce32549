"""The log of facts as the WebSocket shows them, numbered by the projection.

The resume id of a reader is (epoch, sequence): the epoch changes with every rebuild, the sequence has no gaps within
one. Sealed bodies are left out; who is told of a new configuration reads it by its id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.event import Event
from contracts.executor_events import BackupRefused
from gateway.projections import executions
from gateway.projections.applied import Applied, Database, upsert

EVENTS = (ConfigurationCreated, ConfigurationRefused, BackupRefused, *executions.EVENTS)
KEPT = 250_000
"""How many of the latest facts are kept for resuming; who is further behind gets a snapshot."""

_INSERT = """
    INSERT INTO facts (sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_COPY = """
    COPY facts (sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields)
    FROM STDIN
"""
_READ = """
    SELECT sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields::text
    FROM facts
"""


class Fact(msgspec.Struct, frozen=True):
    """One fact with its number. `fields`: the event's own fields, JSON."""

    sequence: int
    organisation: str
    execution_id: str | None
    configuration_id: str | None
    request_id: str | None
    type: str
    event_id: str
    time: datetime
    fields: msgspec.Raw


async def project(
    database: Database, events: Sequence[Applied], sequence: int, configuration_of: Mapping[str, str]
) -> list[Fact]:
    """Number facts from `sequence` + 1 and keep them, in the caller's transaction."""
    facts = [
        _fact(number, applied, configuration_of)
        for number, applied in enumerate((a for a in events if isinstance(a.event, EVENTS)), sequence + 1)
    ]
    rows = [(*msgspec.structs.astuple(fact)[:-1], bytes(fact.fields).decode()) for fact in facts]
    if database.info.pipeline_status:
        # COPY has no place in a pipeline, and few rows need none.
        await upsert(database, _INSERT, rows)
    elif rows:
        async with database.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                await copy.write_row(row)
    return facts


async def forget_old(database: Database, sequence: int) -> None:
    """Keep the latest facts alone."""
    await database.execute("DELETE FROM facts WHERE sequence <= %s", (sequence - KEPT,))


async def after(database: Database, sequence: int, limit: int, organisation: str | None = None) -> list[Fact]:
    """Facts after a number, of one organisation or of all, in order."""
    if organisation is None:
        query = _READ + " WHERE sequence > %s ORDER BY sequence LIMIT %s"
        cursor = await database.execute(query, (sequence, limit))
    else:
        query = _READ + " WHERE organisation = %s AND sequence > %s ORDER BY sequence LIMIT %s"
        cursor = await database.execute(query, (organisation, sequence, limit))
    return [_of_row(row) for row in await cursor.fetchall()]


def _of_row(row: tuple[Any, ...]) -> Fact:
    number, organisation, execution, configuration, request, name, event, time, fields = row
    return Fact(
        number, organisation, execution, configuration, request, name, event, time, msgspec.Raw(fields.encode())
    )


def _fact(number: int, applied: Applied, configuration_of: Mapping[str, str]) -> Fact:
    envelope, event = applied.envelope, applied.event
    execution_id = getattr(event, "execution_id", None)
    configuration_id = getattr(event, "configuration_id", None)
    if configuration_id is None and execution_id is not None:
        configuration_id = configuration_of.get(execution_id)
    return Fact(
        number,
        envelope.organisation,
        execution_id,
        configuration_id,
        getattr(event, "request_id", None),
        envelope.type,
        envelope.id,
        envelope.time,
        _fields(event, envelope.data),
    )


def _fields(event: Event, stored: msgspec.Raw) -> msgspec.Raw:
    if isinstance(event, ConfigurationCreated):
        shown = {
            "requestId": event.request_id,
            "configurationId": event.configuration_id,
            "version": event.version,
            "isWeddingCritical": event.body.is_wedding_critical,
        }
        return msgspec.Raw(msgspec.json.encode(shown))
    return stored
