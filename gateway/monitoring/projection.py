"""The log of facts as the WebSocket shows them, numbered by the projection.

The resume id of a reader is (epoch, sequence): the epoch changes when this log is made anew, the sequence only grows
within one. Sealed bodies are left out; who is told of a new configuration reads it by its id. A fact of a recovery has
the recovery's id in place of a run's, one of an execution of a disaster recovery plan the execution's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from contracts.config_events import ChannelFact, ConfigurationFact, RetentionPolicyFact, ScheduleFact
from contracts.dr_events import DrPlanFact
from contracts.dr_execution_events import DrExecutionBegun, DrExecutionFact, DrRecoveryAsked, DrRecoveryWithdrawn
from contracts.envelope import Envelope
from contracts.event import Event, pinned_kinds
from contracts.recovery_events import RecoveryFact
from gateway.projections.applied import Applied, Database, upsert
from gateway.projections.fact import Fact
from gateway.projections.projection import Batch, Projection, Side
from gateway.runs.projection import Executions
from gateway.writes.declaration import declared

KEPT = 250_000
"""How many of the latest facts are kept for resuming; who is further behind gets a snapshot."""
BUILT = 25_000
"""Of the last so many messages of each stream a build keeps the facts: they have a new epoch's numbers, which nobody
was told yet. More than are told once more when it begins (`gateway.monitoring.feed`)."""

_INSERT = """
    INSERT INTO {facts}
        (sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields)
    SELECT sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields
    FROM json_populate_recordset(NULL::{facts}, %s)
"""
_FORGET = "DELETE FROM {facts} WHERE sequence <= %s"
_READ = """
    SELECT sequence, organisation, execution_id, configuration_id, request_id, type, event_id, time, fields::text
    FROM facts
"""


_TIME_OF = """
    SELECT f.time FROM facts f, projection_state s WHERE f.sequence = %(sequence)s AND s.epoch = %(epoch)s
    UNION ALL
    SELECT f.time FROM facts_shadow f, projection_state s WHERE f.sequence = %(sequence)s AND s.past_epoch = %(epoch)s
"""


RECOVERIES = "recovery-operations"
"""The projection of recoveries, which says to which configuration each belongs."""
_OF_DISASTERS = [each for each in pinned_kinds(DrExecutionFact) if each not in (DrRecoveryAsked, DrRecoveryWithdrawn)]
"""What is asked of the recovery service is told by its own facts."""
_ANSWERS = [answer for write in declared().values() for answer in (write.ACCEPTED, write.REFUSED)]


class Facts(Projection):
    """The log of facts. The caller sees to it that numbers only grow within an epoch."""

    NAME = "facts"
    VERSION = 3
    EVENTS = tuple(
        dict.fromkeys(
            (
                *_ANSWERS,
                *pinned_kinds(ScheduleFact),
                *pinned_kinds(RecoveryFact),
                *_OF_DISASTERS,
                *Executions.EVENTS,
            )
        )
    )
    TABLES = ("facts",)
    NEEDS = (Executions.NAME, RECOVERIES)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._insert, self._forget = self.sql(_INSERT), self.sql(_FORGET)

    async def project(self, database: Database, batch: Batch) -> None:
        """Number facts from the batch's `sequence` + 1 and keep the latest, in the caller's transaction."""
        events = [applied for applied in batch.events if isinstance(applied.event, self.EVENTS)]
        batch.numbered = len(events)
        if batch.behind < BUILT:
            facts = [
                _fact(number, applied, batch.configuration_of)
                for number, applied in enumerate(events, batch.sequence + 1)
            ]
            await upsert(database, self._insert, facts)

    async def forget_old(self, database: Database, sequence: int) -> None:
        """Keep the latest facts alone."""
        await database.execute(self._forget, (sequence - KEPT,))


async def after(
    database: Database, sequence: int, limit: int, *, epoch: str, organisation: str | None = None
) -> list[Fact]:
    """Facts after a number of an epoch, of one organisation or of all, in order; none where the epoch is over."""
    query = _READ + " WHERE sequence > %s AND EXISTS (SELECT FROM projection_state WHERE epoch = %s)"
    wanted: tuple[object, ...] = (sequence, epoch)
    if organisation is not None:
        query += " AND organisation = %s"
        wanted += (organisation,)
    cursor = await database.execute(query + " ORDER BY sequence LIMIT %s", (*wanted, limit))
    return [_of_row(row) for row in await cursor.fetchall()]


async def last_kept(database: Database, sequence: int) -> int:
    """The number of the latest fact that is kept, up to this number; 0 where there is none."""
    row = await (await database.execute("SELECT max(sequence) FROM facts WHERE sequence <= %s", (sequence,))).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


async def time_of(database: Database, epoch: str, sequence: int) -> datetime | None:
    """When a fact of this epoch or of the one before was recorded; None where it is not known any more.

    The facts of the epoch before are where the next ones are built: they are kept until that begins.
    """
    row = await (await database.execute(_TIME_OF, {"epoch": epoch, "sequence": sequence})).fetchone()
    return None if row is None else row[0]


def _of_row(row: tuple[Any, ...]) -> Fact:
    number, organisation, execution, configuration, request, name, event, time, fields = row
    return Fact(
        number, organisation, execution, configuration, request, name, event, time, msgspec.Raw(fields.encode())
    )


def _fact(number: int, applied: Applied, configuration_of: Mapping[str, str]) -> Fact:
    envelope, event = applied.envelope, applied.event
    execution_id = getattr(event, "execution_id", None) or getattr(event, "operation_id", None)
    configuration_id = getattr(event, "configuration_id", None)
    if configuration_id is None and execution_id is not None:
        configuration_id = configuration_of.get(execution_id)
    return Fact(
        number,
        envelope.organisation,
        execution_id,
        configuration_id,
        getattr(event, "request_id", None),
        event.NAME,
        envelope.id,
        envelope.time,
        _fields(event, envelope),
    )


def _fields(event: Event, envelope: Envelope) -> msgspec.Raw:
    if isinstance(event, ConfigurationFact):
        shown = {
            "requestId": event.request_id,
            "configurationId": event.configuration_id,
            "version": event.version,
            "isWeddingCritical": event.body.is_wedding_critical,
        }
        return msgspec.Raw(msgspec.json.encode(shown))
    if isinstance(event, RetentionPolicyFact):
        told = {
            "requestId": event.request_id,
            "retentionPolicyId": event.retention_policy_id,
            "version": event.version,
        }
        return msgspec.Raw(msgspec.json.encode(told))
    if isinstance(event, ChannelFact):
        said = {
            "requestId": event.request_id,
            "channelId": event.channel_id,
            "version": event.version,
            "state": event.state,
        }
        return msgspec.Raw(msgspec.json.encode(said))
    if isinstance(event, DrPlanFact):
        planned = {"requestId": event.request_id, "planId": event.plan_id, "version": event.version}
        return msgspec.Raw(msgspec.json.encode(planned))
    if isinstance(event, DrExecutionBegun):
        begun = {
            "requestId": event.request_id,
            "executionId": event.execution_id,
            "planId": event.plan_id,
            "planVersion": event.plan_version,
            "startedBy": event.started_by,
            "startedAt": event.started_at,
        }
        return msgspec.Raw(msgspec.json.encode(begun))
    # As it is stored, unless it was stored in an older version.
    return envelope.data if envelope.type == event.NAME else msgspec.Raw(msgspec.json.encode(event))
