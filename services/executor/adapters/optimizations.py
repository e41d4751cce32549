"""Optimisations: their record in the executor's event store, and what they have stored again of late."""

from typing import LiteralString

from chassis.claims.port import Claim
from chassis.claims.record import RecordedWork
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import Statement, StatementRefused
from services.executor.errors import OptimizationBusy
from services.executor.repairing.optimization import StorageOptimization

OPTIMIZATIONS = Work(
    noun="optimisation", claims="optimization_claims", turns="optimization_turns", workers="optimization_workers"
)
"""The claims of optimisations: of an organisation at most one is open."""

SCHEMA: tuple[LiteralString, ...] = (
    *OPTIMIZATIONS.schema(),
    *OPTIMIZATIONS.later_schema(),
    # What each has stored again: a day's is bounded.
    """CREATE TABLE optimized_bytes (
        optimization_id text PRIMARY KEY, organisation text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
        stored_bytes bigint NOT NULL)""",
    "CREATE INDEX optimized_bytes_of ON optimized_bytes (organisation, at)",
)
_NOTE = "INSERT INTO optimized_bytes (optimization_id, organisation, stored_bytes) VALUES (%s, %s, %s)"
_SPENT = """
    SELECT coalesce(sum(stored_bytes), 0)::bigint FROM optimized_bytes
    WHERE organisation = %s AND at > now() - interval '24 hours'
"""


class SpentBytes:
    """`Spending` in Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def within_a_day(self, organisation: str) -> int:
        """See `Spending.within_a_day`."""
        with translated():
            async with self._pool.connection() as connection:
                ((spent,),) = await (await connection.execute(_SPENT, (organisation,))).fetchall()
        return int(spent)


class RecordedOptimizations(RecordedWork[StorageOptimization]):
    """`Optimizations` on an event store."""

    KIND = StorageOptimization
    WORK = OPTIMIZATIONS

    async def record_accepted(self, optimization: StorageOptimization, handling: Handling) -> None:
        """Record that one is taken on with the inbox row and its claim."""
        claim = OPTIMIZATIONS.asked(optimization.id, context=handling.context, subject=handling.context.organisation)
        try:
            await self._store.save(optimization, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise OptimizationBusy from error

    async def record_end(
        self, thing: StorageOptimization, stored_bytes: int, *, claim: Claim, context: Context
    ) -> None:
        """Record the end, what was stored again, and close the claim in one transaction."""
        noted = [Statement(_NOTE, (thing.id, context.organisation, stored_bytes), name="note-optimized")]
        await self.save_of(thing, claim, context, [OPTIMIZATIONS.closed(claim), *(noted if stored_bytes else [])])
