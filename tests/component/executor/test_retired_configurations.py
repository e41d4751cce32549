"""Configurations that are retired or paused: nothing more is taken on, whatever is heard first."""

from datetime import UTC, datetime

import msgspec
import pytest

from contracts import errors
from contracts.config_events import (
    BackupFellDue,
    ConfigurationCreated,
    ConfigurationFact,
    ConfigurationPaused,
    ConfigurationResumed,
    ConfigurationRetired,
    ConfigurationUpdated,
)
from contracts.configuration import ConfigurationState, Destination
from contracts.errors import PlatformError
from contracts.executor_events import BackupAccepted, ExecutionType
from tests.component.executor.test_runs import perform_next
from tests.support.executor import CONFIGURATION, ORGANISATION, ExecutorBench

pytestmark = pytest.mark.stack


async def _facts(bench: ExecutorBench) -> list[ConfigurationFact]:
    """Versions 2 and 3 of the configuration, as config tells them."""
    await bench.configure(version=1, local=Destination(location="local"))
    replica = await bench.performance()._configurations.find(CONFIGURATION)
    assert replica is not None
    body, about = replica.body, {"request_id": "r", "configuration_id": "configuration-2"}
    return [
        ConfigurationCreated(**about, version=1, body=body),
        ConfigurationUpdated(**about, version=2, body=body, before=body),
        ConfigurationRetired(**about, version=3, body=body),
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_retirement_counts_in_whichever_order_it_is_told(bench: ExecutorBench, order: tuple[int, ...]) -> None:
    """A run and a retry are refused; a request for a version that has not arrived waits for it."""
    facts = await _facts(bench)
    for place in order:
        await bench.hear(facts[place])
    await bench.request("run-2", configuration_id="configuration-2", version=2)
    assert (await bench.refusal("run-2")).code == errors.CONFIGURATION_RETIRED.code
    with pytest.raises(PlatformError) as waits:
        await bench.request("run-3", configuration_id="configuration-2", version=4)
    assert waits.value.code is errors.CONFIGURATION_NOT_SEEN_YET


async def test_run_that_was_accepted_before_is_performed_and_not_retried(bench: ExecutorBench) -> None:
    """By the version that it was accepted with: what was promised is kept."""
    (fact, _, _) = await _facts(bench)
    retired = ConfigurationRetired(request_id="r", configuration_id=CONFIGURATION, version=2, body=fact.body)
    await bench.hear(retired)
    await perform_next(bench)
    accepted, *_, last = await bench.told("run-1")
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.configuration_version, last.NAME) == (1, "executor.backup-completed.v1")
    await bench.request("run-2", retry_of="run-1", version=2)
    assert (await bench.refusal("run-2")).code == errors.CONFIGURATION_RETIRED.code


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
async def test_paused_configuration_takes_no_runs_until_it_is_resumed(
    bench: ExecutorBench, order: tuple[int, ...]
) -> None:
    """In whichever order it is told, and however it is changed meanwhile."""
    created, changed, _ = await _facts(bench)
    about = {"request_id": "r", "configuration_id": "configuration-2", "body": created.body}
    paused = ConfigurationPaused(**about, version=2)
    told = (created, paused, msgspec.structs.replace(changed, version=3, state=ConfigurationState.PAUSED))
    for place in order:
        await bench.hear(told[place])
    await bench.request("run-2", configuration_id="configuration-2", version=3)
    assert (await bench.refusal("run-2")).code == errors.CONFIGURATION_PAUSED.code
    await bench.hear(ConfigurationResumed(**about, version=4))
    await bench.request("run-3", configuration_id="configuration-2", version=4)
    assert isinstance((await bench.told("run-3"))[0], BackupAccepted)


async def test_run_that_was_accepted_before_the_pause_goes_on(bench: ExecutorBench) -> None:
    """As it does before a retirement."""
    (fact, _, _) = await _facts(bench)
    await bench.hear(ConfigurationPaused(request_id="r", configuration_id=CONFIGURATION, version=2, body=fact.body))
    await perform_next(bench)
    assert (await bench.told("run-1"))[-1].NAME == "executor.backup-completed.v1"


_BEFORE_STATES = """
    INSERT INTO configuration_replicas (configuration_id, organisation, version, body, retired)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (configuration_id)
    DO UPDATE SET version = excluded.version, body = excluded.body, retired = excluded.retired
    WHERE configuration_replicas.version < excluded.version
"""
"""As the executor that knew no states keeps a version."""


async def test_retirement_counts_whichever_build_has_heard_of_it(bench: ExecutorBench) -> None:
    """A build from before states runs beside this one: each sees what the other has kept."""
    created, _, retired = await _facts(bench)
    replica = msgspec.json.encode(created.body)
    async with bench.pool.connection() as connection:
        await connection.execute(_BEFORE_STATES, ("configuration-2", ORGANISATION, 3, replica, True))
        await bench.request("run-2", configuration_id="configuration-2", version=3)
        assert (await bench.refusal("run-2")).code == errors.CONFIGURATION_RETIRED.code
        await bench.hear(msgspec.structs.replace(retired, configuration_id="configuration-3"))
        shown = await connection.execute(
            "SELECT retired FROM configuration_replicas WHERE configuration_id = 'configuration-3'"
        )
        assert await shown.fetchall() == [(True,)]


async def test_run_that_a_schedule_asks_for_is_taken_on_once_and_refused_while_paused(bench: ExecutorBench) -> None:
    """As scheduled, with the instant, also in a refusal: what was missed can be shown as that."""
    (fact, _, _) = await _facts(bench)
    due_at = datetime(2027, 1, 10, 2, tzinfo=UTC)

    def due(run_id: str) -> BackupFellDue:
        return BackupFellDue(
            request_id=run_id,
            execution_id=run_id,
            configuration_id="configuration-2",
            configuration_version=1,
            due_at=due_at,
        )

    await bench.hear(fact)
    await bench.hear(due("run-2"))
    await bench.hear(due("run-2"))
    (accepted,) = await bench.told("run-2")
    assert isinstance(accepted, BackupAccepted)
    assert (accepted.execution_type, accepted.due_at) == (ExecutionType.SCHEDULED, due_at)
    await bench.hear(ConfigurationPaused(request_id="r", configuration_id="configuration-2", version=2, body=fact.body))
    await bench.hear(due("run-3"))
    refused = await bench.refusal("run-3")
    assert (refused.code, refused.due_at) == (errors.CONFIGURATION_PAUSED.code, due_at)
