"""The record of backup runs, in the executor's event store."""

import msgspec

from chassis.claims.port import Claim
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.eventstore import EventStore, StatementRefused
from contracts.executor_events import ExecutionState
from services.executor.domain import BackupRun
from services.executor.errors import ClaimLost, ConfigurationBusy
from services.executor.kept import Replica

RUNS = Work(
    noun="run",
    claims="run_claims",
    turns="organisation_turns",
    id="run_id",
    subject="configuration_id",
    body="configuration",
)
"""The runs' claims: of a configuration at most one run is open, and its body goes with the claim."""


class RecordedRuns:
    """`Runs` on an event store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def load(self, run_id: str) -> BackupRun:
        """Read a run from its history. Raises AGGREGATE_NOT_FOUND."""
        return await self._store.load(BackupRun, run_id)

    async def find(self, run_id: str, organisation: str) -> BackupRun | None:
        """A run of an organisation, or None."""
        run = await self._store.find(BackupRun, run_id)
        return run if run is not None and run.organisation == organisation else None

    async def record_answer(self, run: BackupRun, handling: Handling, *, configuration: Replica | None = None) -> None:
        """Record an answer with the inbox row, and what becomes of the claim with it."""
        context, also = handling.context, []
        if configuration is not None:
            body = msgspec.json.encode(configuration.body)
            also.append(RUNS.asked(run.id, context=context, subject=configuration.configuration_id, body=body))
        elif run.state is ExecutionState.CANCELLED:
            also.append(RUNS.cancelled(run.id))
        try:
            await self._store.save(run, context=context, handled=handling.handled, also=also)
        except StatementRefused as error:
            raise ConfigurationBusy(run.configuration_id) from error

    async def record(self, run: BackupRun, *, context: Context) -> None:
        """Record what has happened to a run."""
        await self._store.save(run, context=context)

    async def record_end(self, run: BackupRun, *, claim: Claim, context: Context) -> None:
        """Record the end of a run and close its claim in one transaction."""
        try:
            await self._store.save(run, context=context, also=[RUNS.closed(claim)])
        except StatementRefused as error:
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error

    async def record_release(self, run: BackupRun, *, claim: Claim, is_left: bool, context: Context) -> None:
        """Record that a run waits again and give its claim back in one transaction."""
        try:
            await self._store.save(run, context=context, also=[RUNS.released(claim, is_left=is_left)])
        except StatementRefused as error:
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error
