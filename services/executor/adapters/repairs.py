"""The record of repairs, in the executor's event store."""

from chassis.claims.port import Claim
from chassis.claims.record import RecordedWork
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import StatementRefused
from services.executor.errors import RepairBusy
from services.executor.repairing.domain import StorageRepair

REPAIRS = Work(noun="repair", claims="repair_claims", turns="repair_turns", workers="repair_workers")
"""The claims of repairs: of an organisation at most one is open."""

_KEPT_AT = "SELECT location FROM begun_repositories WHERE organisation = %s"


class NotedLocations:
    """`KeptAt` on what runs have noted (`adapters/begun.py`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def locations(self, organisation: str) -> frozenset[str]:
        """Where a repository of the organisation was found or begun."""
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(_KEPT_AT, (organisation,))).fetchall()
        return frozenset(location for (location,) in rows)


class RecordedRepairs(RecordedWork[StorageRepair]):
    """`Repairs` on an event store."""

    KIND = StorageRepair
    WORK = REPAIRS

    async def record_accepted(self, repair: StorageRepair, handling: Handling) -> None:
        """Record that one is taken on with the inbox row and its claim."""
        claim = REPAIRS.asked(repair.id, context=handling.context, subject=handling.context.organisation)
        try:
            await self._store.save(repair, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise RepairBusy from error

    async def record_end(self, thing: StorageRepair, *, claim: Claim, context: Context) -> None:
        """Record the end and close the claim in one transaction."""
        await self.save_of(thing, claim, context, [REPAIRS.closed(claim)])
