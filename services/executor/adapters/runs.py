"""The record of backup runs, in the executor's event store."""

from collections.abc import Sequence

import msgspec

from chassis.claims.port import Claim, Unclaimed
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.answers import Answers
from chassis.record.eventstore import Statement, StatementRefused
from contracts import errors
from contracts.configuration import SourceType
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import BackupCancelled
from services.executor.domain import BackupRun
from services.executor.errors import ClaimLost, ConfigurationBusy
from services.executor.kept import Replica
from services.executor.ports import SealedReport

RUNS = Work(
    noun="run",
    claims="run_claims",
    turns="organisation_turns",
    workers="run_workers",
    id="run_id",
    subject="configuration_id",
    body="configuration",
)
"""The runs' claims: of a configuration at most one run is open, and its body goes with the claim."""

# What is there is of an earlier build: its workers kept a report before they had the right to end the run.
_KEEP_REPORT = """
    INSERT INTO run_reports (run_id, organisation, digest, body) VALUES (%s, %s, %s, %s)
    ON CONFLICT (run_id) DO UPDATE SET digest = excluded.digest, body = excluded.body
"""


class RecordedRuns(Answers[BackupRun]):
    """`Runs` on an event store."""

    KIND = BackupRun

    async def load(self, run_id: str) -> BackupRun:
        """Read a run from its history. Raises AGGREGATE_NOT_FOUND."""
        return await self._store.load(BackupRun, run_id)

    async def at_hand(self, claim: Claim) -> BackupRun:
        """A run, to be told about or ended, whatever its history is. See `Runs.at_hand`."""
        try:
            return await self.load(claim.work_id)
        except PlatformError as error:
            if error.code is not errors.EVENT_UNREADABLE:
                raise
        run = await self._store.unread(BackupRun, claim.work_id)
        run.fence, run.configuration_id = claim.fence, claim.subject or ""
        return run

    async def record_told(
        self, run: BackupRun, unclaimed: Unclaimed, lack: ErrorCode | None, *, context: Context
    ) -> None:
        """Record what is told of a run that no worker can take, with the note that it was."""
        statement = RUNS.told(unclaimed, lack.code if lack else None)
        await self._save_of(run, unclaimed.claim, context, [statement])

    async def record_unclaimed_end(self, run: BackupRun, unclaimed: Unclaimed, *, context: Context) -> None:
        """Record the end of a run that no worker could take, and close its claim in one transaction."""
        await self._save_of(run, unclaimed.claim, context, [RUNS.ended(unclaimed)])

    async def record_accepted(self, run: BackupRun, handling: Handling, configuration: Replica) -> None:
        """Record that a run is taken on with the inbox row and its claim."""
        body = configuration.body
        claim = RUNS.asked(
            run.id,
            context=handling.context,
            subject=configuration.configuration_id,
            body=msgspec.json.encode(body),
            is_urgent=run.is_urgent,
            # Each reads by several connections, of which a database has few for all who use it.
            place=body.source_location if body.source_type is SourceType.POSTGRES else None,
        )
        try:
            await self._store.save(run, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise ConfigurationBusy(run.configuration_id) from error

    def beside(self, thing: BackupRun, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # as of all
        """With a run that is cancelled its claim is taken away."""
        is_cancelled = any(isinstance(event, BackupCancelled) for event in thing.pending)
        return [RUNS.cancelled(thing.id)] if is_cancelled else []

    async def record(self, run: BackupRun, *, context: Context) -> None:
        """Record what has happened to a run."""
        await self._store.save(run, context=context)

    async def record_end(
        self, run: BackupRun, *, claim: Claim, context: Context, report: SealedReport | None = None
    ) -> None:
        """Record the end of a run, keep its report and close its claim in one transaction."""
        also = [RUNS.closed(claim)]
        if report is not None:
            also.append(Statement(_KEEP_REPORT, (run.id, context.organisation, report.digest, report.body)))
        await self._save_of(run, claim, context, also)

    async def record_release(
        self, run: BackupRun, *, claim: Claim, is_left: bool, in_trouble: bool, context: Context
    ) -> None:
        """Record that a run waits again and give its claim back in one transaction."""
        await self._save_of(run, claim, context, [RUNS.released(claim, is_left=is_left, in_trouble=in_trouble)])

    async def _save_of(self, run: BackupRun, claim: Claim, context: Context, also: Sequence[Statement]) -> None:
        try:
            await self._store.save(run, context=context, also=also)
        except StatementRefused as error:
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error
