"""Runs in place of others: of those that have failed or were cancelled, and of no other."""

import asyncio
import shutil

import pytest

from contracts import errors
from contracts.configuration import Destination
from contracts.executor_events import BackupAccepted, ExecutionType
from services.executor.policies import DELIVERIES_BEFORE_REFUSAL
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ExecutorBench

pytestmark = pytest.mark.stack


async def test_failed_run_is_retried_by_the_configuration_of_now_and_a_retry_is_too(bench: ExecutorBench) -> None:
    """Each names the one before it: what it was about is found by following them."""
    source, away = bench.source, bench.home / "away"
    shutil.move(source, away)
    await perform_next(bench)
    assert (await bench.names("run-1"))[-1] == "backup-failed"
    await bench.request("run-2", retry_of="run-1")
    await perform_next(bench)
    assert (await bench.names("run-2"))[-1] == "backup-failed"
    shutil.move(away, source)
    await bench.configure(version=2, local=Destination(location="second"))
    await bench.request("run-3", retry_of="run-2", version=2)
    await perform_next(bench)
    accepted, *_, last = await bench.told("run-3")
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.execution_type, accepted.retry_of) == (ExecutionType.RETRY, "run-2")
    assert (accepted.configuration_version, last.NAME) == (2, "executor.backup-completed.v1")
    assert not bench.tier("local").exists()


async def test_cancelled_run_is_retried_once_at_a_time(bench: ExecutorBench) -> None:
    """Of retries that come together one is taken on: a configuration has one open run."""
    await bench.cancel("run-1")
    await asyncio.gather(*(bench.request(f"retry-{number}", retry_of="run-1") for number in range(4)))
    told = sorted([(await bench.names(f"retry-{number}"))[0] for number in range(4)])
    assert told == ["backup-accepted", *["backup-refused"] * 3]


async def test_run_that_needs_no_other_is_not_retried(bench: ExecutorBench) -> None:
    """The refusal says how the run stands."""
    await bench.request("run-2", retry_of="run-1")
    refused = await bench.refusal("run-2")
    assert (refused.code, "initializing" in refused.hint) == (errors.RUN_NOT_RETRYABLE.code, True)
    await perform_next(bench)
    await bench.request("run-3", retry_of="run-1")
    assert "completed" in (await bench.refusal("run-3")).hint


async def test_run_of_another_configuration_or_of_nobody_is_not_found(bench: ExecutorBench) -> None:
    """A retry is of the configuration of the run that it is in place of."""
    await bench.cancel("run-1")
    await bench.configure(configuration_id="configuration-2", local=Destination(location="second"))
    await bench.request("run-2", retry_of="run-1", configuration_id="configuration-2")
    await bench.request("run-3", retry_of="run-x")
    for run in ("run-2", "run-3"):
        assert (await bench.refusal(run)).code == errors.NOT_FOUND.code


async def test_refusal_blames_no_field_that_was_not_sent(bench: ExecutorBench) -> None:
    """Whoever retries a run names no configuration; whoever asks for a run of one does."""
    await bench.cancel("run-1")
    gone = {"version": 2, "deliveries": DELIVERIES_BEFORE_REFUSAL}
    await bench.request("run-2", retry_of="run-1", **gone)
    await bench.request("run-3", **gone)
    refused = [await bench.refusal(run) for run in ("run-2", "run-3")]
    assert [each.code for each in refused] == [errors.CONFIGURATION_UNKNOWN.code] * 2
    assert [each.field for each in refused] == [None, "configurationId"]
