"""The receipt of an execution or test of a plan: all that was said of it, each with its proof, under one checkpoint.

Of the execution and of each recovery that it asked for the receipt has every event, so that whoever verifies it sees
by their numbers that none was left out, an attempt that failed among them.
"""

import base64
from collections.abc import Collection, Sequence
from typing import Any, LiteralString

import msgspec

from chassis.auditlog.note import verifier_key
from chassis.auditlog.origins import origin_of
from chassis.auditlog.tree import inclusion
from contracts import errors
from contracts.dr_execution_events import (
    DrExecutionAborted,
    DrExecutionCompleted,
    DrExecutionFact,
    DrExecutionFailed,
    DrExecutionRefusal,
    DrRecoveryAsked,
)
from contracts.envelope import Envelope, decode
from contracts.errors import PlatformError
from contracts.event import pinned_kinds
from contracts.reading import decoder_of, read_json
from contracts.recovery_events import (
    RecoveryCancellationRefused,
    RecoveryCancelled,
    RecoveryCompleted,
    RecoveryFact,
    RecoveryFailed,
    RecoveryRefused,
)
from gateway.groups.security.queries import LOG, SecurityQueries
from gateway.groups.security.resources import ProvenEntry, RecoveryReceipt
from gateway.projections.applied import Database

_ENDS = frozenset(each.NAME for each in (DrExecutionCompleted, DrExecutionFailed, DrExecutionAborted))
_RESTORED = frozenset(each.NAME for each in (RecoveryCompleted, RecoveryFailed, RecoveryCancelled, RecoveryRefused))
_ABOUT: LiteralString = """
    SELECT place, body FROM {audit}.audit_entries
    WHERE organisation = %s AND type = ANY(%s) AND place < %s
        AND EXISTS (SELECT 1 FROM unnest(%s::bytea[]) AS about (id) WHERE position(about.id IN body) > 0)
    ORDER BY place
"""


class _Asked(msgspec.Struct, frozen=True, rename="camel"):
    """Of `DrRecoveryAsked`, which recovery it is."""

    operation_id: str


_ASKED = decoder_of(_Asked)
_Found = tuple[int, bytes, Envelope]


_OF_EXECUTIONS = [each.NAME for base in (DrExecutionFact, DrExecutionRefusal) for each in pinned_kinds(base)]
_OF_RECOVERIES = [
    *(each.NAME for each in pinned_kinds(RecoveryFact)),
    *(RecoveryRefused.NAME, RecoveryCancellationRefused.NAME),
]


class Receipts:
    """Makes receipts from the audit log of an organisation."""

    def __init__(self, queries: SecurityQueries) -> None:
        self._queries = queries

    async def of_execution(self, organisation: str, execution_id: str) -> RecoveryReceipt:
        """All that the log has of an execution. Raises DR_EXECUTION_UNKNOWN, and DR_RECEIPT_NOT_YET before its end."""
        async with self._queries.snapshot(organisation) as database:
            log = await self._queries.one(database, LOG, organisation)
            size, _, note, since, public = log or (0, b"", None, "", None)
            own = await self._about(database, organisation, size, _OF_EXECUTIONS, "dr-execution", {execution_id})
            if not own:
                raise PlatformError(errors.DR_EXECUTION_UNKNOWN, "the audit log has no such execution")
            if note is None or not any(envelope.type in _ENDS for _, _, envelope in own):
                raise PlatformError(errors.DR_RECEIPT_NOT_YET, "the audit log has no end of the execution")
            asked = [envelope.data for _, _, envelope in own if envelope.type == DrRecoveryAsked.NAME]
            operations = {read_json(each, _ASKED).operation_id for each in asked}
            restores = await self._about(database, organisation, size, _OF_RECOVERIES, "recovery-operation", operations)
            over = {envelope.subject for _, _, envelope in restores if envelope.type in _RESTORED}
            if len(over) < len(operations):
                # Streams have no order among each other: the execution's end may be in the log before a recovery's.
                raise PlatformError(errors.DR_RECEIPT_NOT_YET, "the audit log lacks the end of a recovery")
            entries = [
                ProvenEntry(
                    index=place,
                    leaf=base64.b64encode(body).decode(),
                    hashes=await self._queries.roots(database, organisation, inclusion(place, size)),
                )
                for place, body, _ in sorted([*own, *restores], key=lambda found: found[0])
            ]
        return RecoveryReceipt(
            execution_id=execution_id,
            checkpoint=note,
            verifier_key=verifier_key(origin_of(organisation, since), bytes(public)),
            entries=entries,
        )

    async def _about(
        self,
        database: Database,
        organisation: str,
        size: int,
        types: Sequence[str],
        kind: str,
        ids: Collection[str],
    ) -> list[_Found]:
        """The events of some things of a kind, in the order of the log."""
        wanted = [each.encode() for each in sorted(ids)]
        values = (organisation, list(types), size, wanted)
        rows: list[tuple[Any, ...]] = await (await database.execute(self._queries.of_log(_ABOUT), values)).fetchall()
        subjects = {f"{kind}/{each}" for each in ids}
        found = [(place, bytes(body), decode(bytes(body))) for place, body in rows]
        return [each for each in found if each[2].subject in subjects]
