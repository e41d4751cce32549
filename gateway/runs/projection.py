"""The read model of runs: every run with its phases and tiers, the runs of each configuration, and how many there are.

Only the executor's stream changes these tables, so that streams need no order among each other.
"""

from collections import Counter
from operator import attrgetter

import msgspec

from contracts.executor_events import STATE_AFTER, BackupAccepted, BackupRefused, TierFailed, TierUploaded
from gateway.projections.applied import Applied, Database, Row, load_views, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.runs.standing import columns_of
from gateway.runs.views import ExecutionView, RunsView

EXECUTION_DECODER = msgspec.json.Decoder(ExecutionView)
RUNS_DECODER = msgspec.json.Decoder(RunsView)

_LOAD = "SELECT execution_id, view::text FROM {executions} WHERE execution_id = ANY(%s)"
_STORE = """
    INSERT INTO {executions} (execution_id, organisation, configuration_id, request_id, state, degraded, accepted_at,
                            finished_at, files, source_bytes, new_bytes, stored_bytes, view)
    SELECT execution_id, organisation, configuration_id, request_id, state, degraded, accepted_at,
        finished_at, files, source_bytes, new_bytes, stored_bytes, view
    FROM json_populate_recordset(NULL::{executions}, %s)
    ON CONFLICT (execution_id) DO UPDATE SET
        state = excluded.state, degraded = excluded.degraded, finished_at = excluded.finished_at,
        files = excluded.files, source_bytes = excluded.source_bytes, new_bytes = excluded.new_bytes,
        stored_bytes = excluded.stored_bytes, view = excluded.view
"""
_LOAD_RUNS = "SELECT configuration_id, view::text FROM {configuration_runs} WHERE configuration_id = ANY(%s)"
_STORE_RUNS = """
    INSERT INTO {configuration_runs}
        (configuration_id, organisation, last_state, view, standing, protected_at, made_version,
         uploaded_local, uploaded_cloud_primary, uploaded_cloud_secondary, uploaded_offsite,
         failure_local, failure_cloud_primary, failure_cloud_secondary, failure_offsite)
    SELECT configuration_id, organisation, last_state, view, standing, protected_at, made_version,
        uploaded_local, uploaded_cloud_primary, uploaded_cloud_secondary, uploaded_offsite,
        failure_local, failure_cloud_primary, failure_cloud_secondary, failure_offsite
    FROM json_populate_recordset(NULL::{configuration_runs}, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET
        last_state = excluded.last_state, view = excluded.view, standing = excluded.standing,
        protected_at = excluded.protected_at, made_version = excluded.made_version,
        uploaded_local = excluded.uploaded_local,
        uploaded_cloud_primary = excluded.uploaded_cloud_primary,
        uploaded_cloud_secondary = excluded.uploaded_cloud_secondary, uploaded_offsite = excluded.uploaded_offsite,
        failure_local = excluded.failure_local, failure_cloud_primary = excluded.failure_cloud_primary,
        failure_cloud_secondary = excluded.failure_cloud_secondary, failure_offsite = excluded.failure_offsite
"""
_COUNT = """
    INSERT INTO {execution_counts} AS held (organisation, state, runs)
    SELECT organisation, state, runs FROM json_populate_recordset(NULL::{execution_counts}, %s)
    ON CONFLICT (organisation, state) DO UPDATE SET runs = held.runs + excluded.runs
"""


class Executions(Projection):
    """Runs, and what each configuration shows of its own."""

    NAME = "executions"
    VERSION = 15
    EVENTS = (*STATE_AFTER, TierUploaded, TierFailed, BackupRefused)
    TABLES = ("executions", "configuration_runs", "execution_counts")

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store, self._count = self.sql(_LOAD), self.sql(_STORE), self.sql(_COUNT)
        self._load_runs, self._store_runs = self.sql(_LOAD_RUNS), self.sql(_STORE_RUNS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction; say to which configuration each run belongs."""
        touched: list[tuple[Applied, str]] = [
            (applied, attrgetter("execution_id")(applied.event))
            for applied in batch.events
            if isinstance(applied.event, self.EVENTS)
        ]
        ids = list({run for _, run in touched})
        runs, unreadable = await load_views(database, self._load, ids, EXECUTION_DECODER)
        counts: Counter[tuple[str, str]] = Counter()
        for run in runs.values():
            counts[run.organisation, run.counted_as] -= 1
        for applied, execution_id in touched:
            if execution_id in unreadable:
                continue
            if isinstance(applied.event, BackupAccepted):
                runs[execution_id] = ExecutionView.accepted(applied.envelope, applied.event, applied.position)
            elif execution_id in runs:
                runs[execution_id].apply(applied.envelope, applied.event, applied.position)
        for run in runs.values():
            counts[run.organisation, run.counted_as] += 1
        await upsert(database, self._store, [_row(run) for run in runs.values()])
        changes: list[Row] = [
            {"organisation": organisation, "state": state, "runs": change}
            for (organisation, state), change in sorted(counts.items())
            if change
        ]
        await upsert(database, self._count, changes)
        unreadable |= await self._project_runs(database, list(runs.values()), touched)
        batch.configuration_of.update((run.execution_id, run.configuration_id) for run in runs.values())
        if unreadable:
            batch.unreadable[self.NAME] = f"{len(unreadable)} stored views cannot be read by this build"

    async def _project_runs(
        self, database: Database, runs: list[ExecutionView], touched: list[tuple[Applied, str]]
    ) -> set[str]:
        # Of what people asked for in vain they know; of what a schedule did, its configuration tells.
        refused = [
            (applied.envelope.organisation, applied.event)
            for applied, _ in touched
            if isinstance(applied.event, BackupRefused) and applied.event.due_at is not None
        ]
        ids = list({run.configuration_id for run in runs} | {event.configuration_id for _, event in refused})
        views, unreadable = await load_views(database, self._load_runs, ids, RUNS_DECODER)

        def view_of(configuration_id: str, organisation: str) -> RunsView:
            made = RunsView(configuration_id=configuration_id, organisation=organisation)
            return views.setdefault(configuration_id, made)

        for run in runs:
            view_of(run.configuration_id, run.organisation).apply(run)
        for organisation, event in refused:
            view_of(event.configuration_id, organisation).refuse(event)
        rows: list[Row] = [
            {
                "configuration_id": view.configuration_id,
                "organisation": view.organisation,
                "last_state": "never-run" if view.last is None else view.last.state,
                "view": view,
                **columns_of(view),
            }
            for view in views.values()
            if view.configuration_id not in unreadable
        ]
        await upsert(database, self._store_runs, rows)
        return unreadable


def execution_view(stored: str) -> ExecutionView:
    """A stored run. Raises ViewUnreadable."""
    return read_view(stored, EXECUTION_DECODER, Executions.NAME)


def runs_view(stored: str) -> RunsView:
    """What is stored of a configuration's runs. Raises ViewUnreadable."""
    return read_view(stored, RUNS_DECODER, Executions.NAME)


def _row(run: ExecutionView) -> Row:
    totals = run.totals
    return {
        "execution_id": run.execution_id,
        "organisation": run.organisation,
        "configuration_id": run.configuration_id,
        "request_id": run.request_id,
        "state": run.state,
        "degraded": run.degraded,
        "accepted_at": run.accepted_at,
        "finished_at": run.finished_at,
        "files": totals.files if totals is not None else None,
        "source_bytes": totals.source_bytes if totals is not None else None,
        "new_bytes": totals.new_bytes if totals is not None else None,
        "stored_bytes": totals.stored_bytes if totals is not None else None,
        "view": run,
    }
