"""The record of erasures, in the executor's event store, and what is known of data subjects in its tables.

`subject_erasures` is the ledger: whose keys were destroyed, so that they are destroyed again where an older copy of the
keys folder brings them back (`adapters/erasing/ledger.py`).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import LiteralString

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.claims.port import Claim, Unclaimed
from chassis.claims.record import RecordedWork
from chassis.claims.work import CLAIM, Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import Timer, cancelled, set_at, set_in
from contracts.configuration import ConfigurationState
from contracts.erasure_events import NEAR, DataSubjectErased, ErasureState, RecoveryPointsErased
from contracts.reading import read_plain
from services.executor.adapters.holds import going_points, turned
from services.executor.adapters.points import KnownToTheRecord, gone_points
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import Standing, against
from services.executor.errors import ErasureBusy
from services.executor.retention.plans import Knowledge

ERASURES = Work(noun="erasure", claims="erasure_claims", turns="erasure_turns", workers="erasure_workers")
"""The claims of erasures: of a data subject at most one is open."""
DEADLINE = "erasure-deadline"
"""Of the timers that tell that an erasure's time is nearly over, and over; by its id, with the organisation."""
AGAIN = "erasure-again"
"""Of the timers after which an erasure is looked at again; as above."""
AGAIN_SECONDS = 3600.0
LOOK_SECONDS = 600.0
"""So often the record is looked at for what stands against one: nothing is told of a look that finds the same."""
PAUSES_MAX = 24
"""After so many attempts it is tried once a day: what a tier needs that is away for weeks is no other event an hour."""
SCHEMA: tuple[LiteralString, ...] = (
    # `is_over`: all is gone. `erased_at`: since when the key of the sealed fields is destroyed.
    """CREATE TABLE subject_erasures (
        erasure_id text PRIMARY KEY,
        organisation text NOT NULL,
        data_subject_id text NOT NULL,
        is_over boolean NOT NULL DEFAULT false,
        erased_at timestamptz
    )""",
    "CREATE UNIQUE INDEX subject_erasures_open ON subject_erasures (organisation, data_subject_id) WHERE NOT is_over",
    "CREATE INDEX subject_erasures_done ON subject_erasures (organisation) WHERE erased_at IS NOT NULL",
    *ERASURES.schema(),
    *ERASURES.later_schema(),
    "ALTER TABLE subject_erasures ADD COLUMN deadline_at timestamptz",
)
_TAKE: LiteralString = """
    INSERT INTO subject_erasures (erasure_id, organisation, data_subject_id, deadline_at) VALUES (%s, %s, %s, %s)
"""
_ERASED: LiteralString = """
    UPDATE subject_erasures SET is_over = is_over OR %s, erased_at = coalesce(erased_at, now()) WHERE erasure_id = %s
"""
_CONFIGURATIONS: LiteralString = """
    SELECT configuration_id, body, CASE WHEN retired THEN 'retired' ELSE state END FROM configuration_replicas
    WHERE organisation = %s
"""
_RUNNING: LiteralString = """
    SELECT configuration_id FROM run_claims WHERE organisation = %s AND state <> 'done' AND configuration_id = ANY(%s)
"""
_NOW = "SELECT now()"
_DUE = "SELECT extract(epoch FROM min(deadline_at)) FROM subject_erasures WHERE NOT is_over"
_SOON: LiteralString = """
    UPDATE timers SET due_at = clock_timestamp(), held_until = NULL, fence = pg_current_xact_id()::text::bigint
    WHERE kind = %s AND name IN (
        SELECT erasure_id FROM subject_erasures WHERE organisation = %s AND NOT is_over AND erased_at IS NULL
    )
"""


class _Whose(msgspec.Struct, frozen=True, rename="camel"):
    """Of a configuration's body what is looked at."""

    data_subject_id: str | None = None


_WHOSE = msgspec.json.Decoder(_Whose)


def looked_at_soon(organisation: str) -> Statement:
    """Has the organisation's erasures that something stands against looked at: one of those things is over."""
    return Statement(_SOON, (AGAIN, organisation), name="erasures-soon")


class ErasureFigures:
    """When the next erasure has to be complete, of all organisations (see `chassis.telemetry.figures`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> list[Metric]:
        """Nothing where none is open."""
        with translated():
            async with self._pool.connection() as connection:
                ((due,),) = await (await connection.execute(_DUE)).fetchall()
        if due is None:
            return []
        words = "When the open erasure of a data subject that is due next has to be complete."
        return [GaugeMetricFamily("wedsync_erasures_deadline_timestamp_seconds", words, float(due))]


class RecordedErasures(RecordedWork[SubjectErasure]):
    """`Erasures` on an event store."""

    KIND = SubjectErasure
    WORK = ERASURES

    def __init__(self, store: EventStore, pool: Pool) -> None:
        super().__init__(store)
        self._pool = pool
        self._known = KnownToTheRecord(pool, store)

    async def standing(self, organisation: str, data_subject_id: str) -> Standing:
        """See `Erasures.standing`."""
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_CONFIGURATIONS, (organisation,))).fetchall()
                states = {
                    each: read_plain(state, ConfigurationState)
                    for each, body, state in rows
                    if _WHOSE.decode(bytes(body)).data_subject_id == data_subject_id
                }
                found = await connection.execute(_RUNNING, (organisation, sorted(states)))
                running = {each for (each,) in await found.fetchall()}
                ((now,),) = await (await connection.execute(_NOW)).fetchall()
        if not states:  # None named would be all of the organisation's.
            known = Knowledge(now=now, newest=None, points=(), configurations={}, rules={})
        else:
            known = await self._known.of(organisation, sorted(states))
        return Standing(states=states, running=running, knowledge=known)

    async def record_accepted(self, erasure: SubjectErasure, handling: Handling) -> None:
        """See `Erasures.record_accepted`."""
        context = handling.context
        assert erasure.deadline_at is not None  # noqa: S101  # it was accepted
        body = context.organisation.encode()
        also = [
            Statement(
                _TAKE,
                (erasure.id, context.organisation, erasure.data_subject_id, erasure.deadline_at),
                rows=1,
                name="erasure",
            ),
            set_at(DEADLINE, erasure.id, erasure.deadline_at - NEAR, body),
            set_in(AGAIN, erasure.id, LOOK_SECONDS, body)
            if erasure.state is ErasureState.BLOCKED
            else ERASURES.asked(erasure.id, context=context, subject=erasure.data_subject_id),
        ]
        try:
            await self._store.save(erasure, context=context, handled=handling.handled, also=also)
        except StatementRefused as error:
            raise ErasureBusy from error

    async def record_begun(self, erasure: SubjectErasure, standing: Standing, *, context: Context) -> None:
        """See `Erasures.record_begun`."""
        also = []
        if standing.points:
            organisation = context.organisation
            ids = [each.recovery_point_id for each in standing.points]
            also = [turned(organisation, standing.knowledge.turn), going_points(ids, erasure.id, organisation)]
        await self._store.save(erasure, context=context, also=also)

    async def record_end(self, erasure: SubjectErasure, *, claim: Claim, context: Context) -> None:
        """See `Erasures.record_end`."""
        await self.save_of(erasure, claim, context, [ERASURES.closed(claim), *_beside(erasure, context.organisation)])

    async def record_unclaimed_end(self, thing: SubjectErasure, unclaimed: Unclaimed, *, context: Context) -> None:
        """Record that no worker could take it: it is tried again, as after any other failure."""
        also = [ERASURES.ended(unclaimed), *_beside(thing, context.organisation)]
        await self.save_of(thing, unclaimed.claim, context, also)

    async def look_again(self, timer: Timer) -> None:
        """Have a worker look at it again, unless the record alone says that something stands against it still."""
        organisation = timer.body.decode()
        context = Context(organisation, "service:executor", correlation_id=timer.name)
        erasure = await self.find(timer.name, organisation)
        if erasure is None or erasure.state not in (ErasureState.BLOCKED, ErasureState.WAITING):
            await self._store.save(context=context, also=[timer.done()])
            return
        if not erasure.has_begun_erasing:
            standing = await self.standing(organisation, erasure.data_subject_id)
            if obstacles := against(standing):
                erasure.block(obstacles)
                later = timer.moved(timer.now + timedelta(seconds=LOOK_SECONDS))
                await self._store.save(*_if_changed(erasure), context=context, also=[later])
                return
        erasure.resume()
        claim = ERASURES.asked_again(erasure.id, context=context, subject=erasure.data_subject_id)
        try:
            await self._store.save(erasure, context=context, also=[timer.done(), claim])
        except StatementRefused as error:
            if error.name != CLAIM:
                raise
            await self._store.save(context=context, also=[timer.done()])  # It waits for a worker, or has one.

    async def come_near(self, timer: Timer) -> None:
        """Tell that an erasure's time is nearly over, and once more when it is."""
        organisation = timer.body.decode()
        context = Context(organisation, "service:executor", correlation_id=timer.name)
        erasure = await self.find(timer.name, organisation)
        if erasure is None or erasure.is_over or erasure.deadline_at is None:
            await self._store.save(context=context, also=[timer.done()])
            return
        is_over = timer.now >= erasure.deadline_at
        erasure.come_near(is_over=is_over)
        also = timer.done() if is_over else timer.moved(erasure.deadline_at)
        await self._store.save(erasure, context=context, also=[also])


def _if_changed(erasure: SubjectErasure) -> Sequence[SubjectErasure]:
    return (erasure,) if erasure.pending else ()


def _beside(erasure: SubjectErasure, organisation: str) -> list[Statement]:
    """What becomes true with the end of an attempt: which points are gone, and when it is gone on with."""
    also: list[Statement] = []
    for event in erasure.pending:
        if isinstance(event, RecoveryPointsErased):
            also.append(gone_points(event.points, organisation))
        elif isinstance(event, DataSubjectErased):
            also.append(Statement(_ERASED, (event.is_complete, erasure.id), rows=1, name="erased"))
    if erasure.is_over:
        also += [cancelled(DEADLINE, erasure.id), cancelled(AGAIN, erasure.id)]
    elif erasure.state is ErasureState.WAITING and erasure.possible_at is not None:
        also.append(set_at(AGAIN, erasure.id, erasure.possible_at, organisation.encode()))
    else:
        pause = AGAIN_SECONDS * min(max(erasure.fence, 1), PAUSES_MAX)
        also.append(set_in(AGAIN, erasure.id, pause, organisation.encode()))
    return also
