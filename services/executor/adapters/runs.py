"""The record of backup runs, in the executor's event store."""

from chassis import eventstore
from chassis.context import Context
from chassis.eventstore import EventStore, Statement, StatementRefused
from services.executor.domain import BackupRun, RunState
from services.executor.errors import ClaimLost
from services.executor.ports import Claim, Handled

_OPEN_CLAIM = """
    INSERT INTO run_claims (run_id, organisation, correlation_id, traceparent)
    VALUES (%s, %s, %s, %s)
"""
_CLOSE_CLAIM = "UPDATE run_claims SET state = 'done' WHERE run_id = %s AND fence = %s AND state = 'running'"


class RecordedRuns:
    """`Runs` on an event store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def load(self, run_id: str) -> BackupRun:
        """Read a run from its history. Raises AGGREGATE_NOT_FOUND."""
        return await self._store.load(BackupRun, run_id)

    async def record_decision(self, run: BackupRun, *, context: Context, handled: Handled) -> None:
        """Record an acceptance or a refusal, the inbox row and, for an acceptance, an open claim."""
        also = []
        if run.state is RunState.INITIALIZING:
            parameters = (run.id, context.organisation, context.correlation_id, context.traceparent)
            also.append(Statement(_OPEN_CLAIM, parameters, rows=1, name="open-claim"))
        await self._store.save(
            run, context=context, handled=eventstore.Handled(handled.consumer, handled.event_id), also=also
        )

    async def record(self, run: BackupRun, *, context: Context) -> None:
        """Record what has happened to a run."""
        await self._store.save(run, context=context)

    async def record_end(self, run: BackupRun, *, claim: Claim, context: Context) -> None:
        """Record the end of a run and close its claim in one transaction."""
        close = Statement(_CLOSE_CLAIM, (claim.run_id, claim.fence), rows=1, name="close-claim")
        try:
            await self._store.save(run, context=context, also=[close])
        except StatementRefused as error:
            raise ClaimLost(claim.run_id, fence=claim.fence, current=claim.fence + 1) from error
