"""What steps of disaster recovery plans ask of the recovery service: judged as what people ask, and taken back."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from contracts import errors
from contracts.dr_execution_events import DrRecoveryAsked, DrRecoveryWithdrawn
from contracts.errors import PlatformError
from contracts.recovery_events import TARGET_PATH_FIELD, ConflictPolicy, RecoveryAccepted, RecoveryRefused
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.recovery import POINT, RecoveryBench, recovery_bench

pytestmark = pytest.mark.stack
pytest_plugins = ["tests.support.nats_server", "tests.support.postgres_server"]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[RecoveryBench]:
    async with recovery_bench(tmp_path, postgres, nats_server) as bench:
        yield bench


async def test_step_of_a_plan_is_judged_as_a_person_and_taken_back(bench: RecoveryBench) -> None:
    """No second factor, no recovery, but of a test; a target that holds something is refused."""
    asked = DrRecoveryAsked(
        execution_id="execution-1",
        step_id="photos",
        attempt=1,
        request_id="op-1",
        operation_id="op-1",
        recovery_point_id=POINT,
        target_location="restored",
        target_path=bench.sealer.seal("org-a", TARGET_PATH_FIELD, "all"),
        second_factor=True,
    )
    withdrawn = DrRecoveryWithdrawn(
        execution_id="execution-1", step_id="photos", attempt=1, request_id="withdrawn-1", operation_id="op-1"
    )
    with pytest.raises(PlatformError):  # to be asked again: it has overtaken what it takes back
        await bench.hear(withdrawn)
    await bench.hear(asked)
    (accepted,) = await bench.told("op-1")
    assert isinstance(accepted, RecoveryAccepted)
    assert (accepted.conflict_policy, accepted.target_path) == (ConflictPolicy.REFUSE, asked.target_path)
    await bench.hear(withdrawn)
    assert await bench.names("op-1") == ["accepted", "cancelled"]
    (bench.restored / "all").mkdir()
    (bench.restored / "all" / "theirs").write_text("precious")
    for number, (changes, code) in enumerate(
        (
            ({"second_factor": False}, errors.SECOND_FACTOR_NEEDED),
            ({}, errors.TARGET_NOT_EMPTY),
            ({"is_test": True, "second_factor": False}, errors.TARGET_NOT_EMPTY),
        ),
        start=2,
    ):
        await bench.hear(
            msgspec.structs.replace(asked, request_id=f"op-{number}", operation_id=f"op-{number}", **changes)
        )
        (refused,) = await bench.told(f"op-{number}")
        assert isinstance(refused, RecoveryRefused)
        assert refused.code == code.code
    assert (bench.restored / "all" / "theirs").read_text() == "precious"
