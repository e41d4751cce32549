"""The read model of runs: every run with its phases and tiers, the runs of each configuration, and how many there are.

Only the executor's stream changes these tables, so that streams need no order among each other.
"""

from collections import Counter
from collections.abc import Sequence

import msgspec

from contracts.executor_events import (
    BackupAccepted,
    BackupCompleted,
    BackupFailed,
    BackupPreparing,
    BackupUploading,
    BackupVerifying,
    TierFailed,
    TierUploaded,
)
from gateway.projections.applied import Applied, Database, load_views, upsert
from gateway.projections.standing import columns_of
from gateway.projections.views import ExecutionView, RunsView

EVENTS = (
    BackupAccepted,
    BackupPreparing,
    BackupUploading,
    BackupVerifying,
    TierUploaded,
    TierFailed,
    BackupCompleted,
    BackupFailed,
)
Fact = (
    BackupAccepted
    | BackupPreparing
    | BackupUploading
    | BackupVerifying
    | TierUploaded
    | TierFailed
    | BackupCompleted
    | BackupFailed
)

EXECUTION_DECODER = msgspec.json.Decoder(ExecutionView)
RUNS_DECODER = msgspec.json.Decoder(RunsView)

_LOAD = "SELECT execution_id, view::text FROM executions WHERE execution_id = ANY(%s)"
_STORE = """
    INSERT INTO executions (execution_id, organisation, configuration_id, request_id, state, degraded, accepted_at,
                            finished_at, files, source_bytes, new_bytes, stored_bytes, view)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (execution_id) DO UPDATE SET
        state = excluded.state, degraded = excluded.degraded, finished_at = excluded.finished_at,
        files = excluded.files, source_bytes = excluded.source_bytes, new_bytes = excluded.new_bytes,
        stored_bytes = excluded.stored_bytes, view = excluded.view
"""
_LOAD_RUNS = "SELECT configuration_id, view::text FROM configuration_runs WHERE configuration_id = ANY(%s)"
_STORE_RUNS = """
    INSERT INTO configuration_runs (configuration_id, organisation, last_state, view, standing, protected_at, uploaded,
                                    failures)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET
        last_state = excluded.last_state, view = excluded.view, standing = excluded.standing,
        protected_at = excluded.protected_at, uploaded = excluded.uploaded, failures = excluded.failures
"""
_COUNT = """
    INSERT INTO execution_counts (organisation, state, runs) VALUES (%s, %s, %s)
    ON CONFLICT (organisation, state) DO UPDATE SET runs = execution_counts.runs + excluded.runs
"""


async def project(database: Database, events: Sequence[Applied]) -> dict[str, str]:
    """Take facts over, in the caller's transaction; the configuration of each run that they are about."""
    touched = [(applied, applied.event.execution_id) for applied in events if isinstance(applied.event, Fact)]
    runs = await load_views(database, _LOAD, list({run for _, run in touched}), EXECUTION_DECODER)
    counts: Counter[tuple[str, str]] = Counter()
    for run in runs.values():
        counts[run.organisation, run.counted_as] -= 1
    for applied, execution_id in touched:
        if isinstance(applied.event, BackupAccepted):
            runs[execution_id] = ExecutionView.accepted(applied.envelope, applied.event)
        elif execution_id in runs:
            runs[execution_id].apply(applied.envelope, applied.event)
    for run in runs.values():
        counts[run.organisation, run.counted_as] += 1
    await upsert(database, _STORE, [_row(run) for run in runs.values()])
    await upsert(database, _COUNT, [(*key, change) for key, change in sorted(counts.items()) if change])
    await _project_runs(database, list(runs.values()))
    return {run.execution_id: run.configuration_id for run in runs.values()}


async def _project_runs(database: Database, runs: list[ExecutionView]) -> None:
    views = await load_views(database, _LOAD_RUNS, list({run.configuration_id for run in runs}), RUNS_DECODER)
    for run in sorted(runs, key=lambda run: run.accepted_at):
        view = views.get(run.configuration_id)
        if view is None:
            view = views[run.configuration_id] = RunsView(
                configuration_id=run.configuration_id, organisation=run.organisation
            )
        view.apply(run)
    rows: list[tuple[object, ...]] = [
        (
            view.configuration_id,
            view.organisation,
            view.last.state,
            msgspec.json.encode(view).decode(),
            *columns_of(view),
        )
        for view in views.values()
        if view.last is not None
    ]
    await upsert(database, _STORE_RUNS, rows)


def _row(run: ExecutionView) -> tuple[object, ...]:
    totals = run.totals
    return (
        run.execution_id,
        run.organisation,
        run.configuration_id,
        run.request_id,
        run.state,
        run.degraded,
        run.accepted_at,
        run.finished_at,
        totals.files if totals is not None else None,
        totals.source_bytes if totals is not None else None,
        totals.new_bytes if totals is not None else None,
        totals.stored_bytes if totals is not None else None,
        msgspec.json.encode(run).decode(),
    )
