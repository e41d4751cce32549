"""The record of backup runs, in the executor's event store."""

from collections.abc import Sequence

import msgspec

from chassis.claims.port import Claim
from chassis.claims.record import RecordedWork
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.eventstore import Statement, StatementRefused
from contracts.configuration import SourceType
from contracts.executor_events import BackupCancelled, BackupCompleted
from services.executor.adapters.follow_ups import followed_by, not_followed
from services.executor.adapters.holds import new_points_held
from services.executor.adapters.points import kept_points
from services.executor.domain import BackupRun
from services.executor.errors import ConfigurationBusy
from services.executor.kept import Replica
from services.executor.ports import SealedReport
from services.executor.settings import AT_SOURCE, AT_TIER

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
_REMEMBER = """
    INSERT INTO last_runs (configuration_id, source_bytes) VALUES (%s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET source_bytes = excluded.source_bytes
"""


def _claim(run: BackupRun, context: Context, configuration: Replica) -> Statement:
    """Lets a run wait for a worker, with what it is performed by."""
    body = configuration.body
    tiers = {each.location for each in body.storage_destinations.by_tier().values()}
    return RUNS.asked(
        run.id,
        context=context,
        subject=configuration.configuration_id,
        body=msgspec.json.encode(body),
        is_urgent=run.is_urgent,
        # Each reads by several connections, of which a database has few for all who use it.
        place=body.source_location if body.source_type is SourceType.POSTGRES else None,
        places=[f"{AT_SOURCE}:{body.source_location}", *(f"{AT_TIER}:{each}" for each in sorted(tiers))],
    )


class RecordedRuns(RecordedWork[BackupRun]):
    """`Runs` on an event store."""

    KIND = BackupRun
    WORK = RUNS

    def unread(self, thing: BackupRun, claim: Claim) -> None:
        """Of which configuration it is."""
        thing.configuration_id = claim.subject or ""

    async def record_accepted(self, run: BackupRun, handling: Handling, configuration: Replica) -> None:
        """Record that a run is taken on with the inbox row and its claim."""
        claim = _claim(run, handling.context, configuration)
        try:
            await self._store.save(run, context=handling.context, handled=handling.handled, also=[claim])
        except StatementRefused as error:
            raise ConfigurationBusy(run.configuration_id) from error

    async def record_following(
        self, run: BackupRun, context: Context, configuration: Replica, ended: Statement
    ) -> None:
        """Record a run that follows another, its claim, and the end of the timer that has brought it up: all or none.

        Raises `StatementRefused` by the name of what is not so any more.
        """
        await self._store.save(run, context=context, also=[ended, _claim(run, context, configuration)])

    def beside(self, thing: BackupRun, handling: Handling) -> Sequence[Statement]:  # noqa: ARG002  # as of all
        """With a run that is cancelled its claim is taken away, and what was to follow a run of the configuration."""
        is_cancelled = any(isinstance(event, BackupCancelled) for event in thing.pending)
        return [RUNS.cancelled(thing.id), not_followed(thing.configuration_id)] if is_cancelled else []

    async def record_end(
        self, run: BackupRun, *, claim: Claim, context: Context, report: SealedReport | None = None
    ) -> None:
        """Record the end of a run, keep its report and its recovery point, and close its claim in one transaction."""
        points = kept_points(run.pending, context.organisation)
        also = [RUNS.closed(claim), *points, *followed_by(run, context)]
        also += [new_points_held(context.organisation)] if points else []
        also += [
            Statement(_REMEMBER, (event.configuration_id, event.totals.source_bytes), name="last-run")
            for event in run.pending
            if isinstance(event, BackupCompleted)
        ]
        if report is not None:
            also.append(Statement(_KEEP_REPORT, (run.id, context.organisation, report.digest, report.body)))
        await self.save_of(run, claim, context, also)
