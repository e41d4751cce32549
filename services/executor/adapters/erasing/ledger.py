"""Erasures applied again: a key that was destroyed stays destroyed, whichever copy of the keys folder is put back.

Promise: as soon as a worker runs, and every few minutes, each subject in the ledger whose key is there is erased again,
and that is told in the record. The tiers need none of this: their logs say what was destroyed, and catch-up and repair
go by them. What neither the ledger nor the logs know (the record and all tiers put back to before it) nobody can apply.
"""

from typing import LiteralString

from chassis.context import Context
from chassis.life.tasks import Supervised
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore
from chassis.sealing import Sealer
from chassis.subject_keys import SubjectKey, standing
from chassis.telemetry.instruments import Telemetry
from services.executor.erasing.domain import SubjectErasure

EVERY_SECONDS = 300.0
AT_ONCE = 500
ACTOR = "service:executor-worker"
_ERASED: LiteralString = """
    SELECT erasure_id, organisation, data_subject_id FROM subject_erasures
    WHERE erased_at IS NOT NULL AND erasure_id > %s ORDER BY erasure_id LIMIT %s
"""


class ErasureLedger:
    """Applies erasures again. `loop` is the part."""

    def __init__(self, store: EventStore, pool: Pool, sealer: Sealer, telemetry: Telemetry | None = None) -> None:
        self._store = store
        self._pool = pool
        self._sealer = sealer
        self.loop = Supervised("erasure-ledger", self.apply, telemetry=telemetry, every_seconds=EVERY_SECONDS)

    async def apply(self) -> None:
        """Look at every subject of the ledger. Raises KEYS_UNUSABLE, KEYS_UNREACHABLE and UNAVAILABLE."""
        after = ""
        while rows := await self._erased(after):
            for erasure_id, organisation, subject in rows:
                await self._look(erasure_id, organisation, subject)
                after = erasure_id
            self.loop.progressed()

    async def _erased(self, after: str) -> list[tuple[str, str, str]]:
        with translated():
            async with self._pool.connection() as connection:
                return await (await connection.execute(_ERASED, (after, AT_ONCE))).fetchall()

    async def _look(self, erasure_id: str, organisation: str, subject: str) -> None:
        found = await self._sealer.ask(lambda: standing(self._sealer, organisation, subject))
        if found not in (SubjectKey.THERE, SubjectKey.BACK):
            return
        await self._sealer.ask(lambda: self._sealer.destroy(organisation, subject=subject))
        erasure = await self._store.load(SubjectErasure, erasure_id)
        erasure.apply_again()
        await self._store.save(erasure, context=Context(organisation, ACTOR, correlation_id=erasure_id))
