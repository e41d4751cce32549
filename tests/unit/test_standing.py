"""No loop of a process stands still in silence: what dies, hangs or gets nowhere is named by its readiness."""

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chassis.bus.connection import Connection
from chassis.bus.topology import TopologyCheck
from chassis.life.runtime import Part
from chassis.life.tasks import Supervised
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.sealing import prepare_keys_folder
from chassis.settings import load
from contracts import errors
from contracts.errors import PlatformError
from gateway import bootstrap as gateway
from gateway.settings import GatewaySettings
from services.config import bootstrap as config
from services.config.settings import ConfigSettings
from services.executor import bootstrap as executor
from services.executor.settings import ExecutorSettings, WorkerSettings

ROOT = Path(__file__).resolve().parents[2]

PROCESSES: dict[str, tuple[Any, Callable[[Any], Awaitable[int]], type[Any], set[str]]] = {
    "gateway": (
        gateway,
        gateway.run,
        GatewaySettings,
        {
            "relay",
            "relay-listener",
            "projector",
            "feed",
            "denials",
            "housekeeping",
            "signing-keys-refresh",
            "http-limits",
        },
    ),
    "config": (config, config.run, ConfigSettings, {"relay", "relay-listener", "consumer-watch"}),
    "executor": (executor, executor.run, ExecutorSettings, {"relay", "relay-listener", "consumer-watch"}),
    "executor-worker": (executor, executor.run_worker, WorkerSettings, {"claim-loop", "heartbeats", "tier-watch"}),
}


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[[type[Any]], Any]:
    """Settings of a process that is put together and never started."""
    prepare_keys_folder(tmp_path / "keys")
    (tmp_path / "jwks.json").write_text("{}")
    environment = {
        "WEDSYNC_POSTGRES_DSN": "host=127.0.0.1 port=1 user=nobody dbname=nothing",
        "WEDSYNC_POSTGRES_SCHEMA": "nobodys",
        "WEDSYNC_NATS_URL": "nats://127.0.0.1:1",
        "WEDSYNC_KEYS_DIR": str(tmp_path / "keys"),
        "WEDSYNC_LOCATIONS_FILE": str(tmp_path / "locations.json"),
        "WEDSYNC_JWKS_FILE": str(tmp_path / "jwks.json"),
        "WEDSYNC_JWT_ISSUER": "https://identity.example",
        "WEDSYNC_JWT_AUDIENCE": "wedsync-backup",
    }
    return lambda kind: load(kind, environment)


@pytest.fixture(params=PROCESSES)
async def process(
    request: pytest.FixtureRequest, settings_of: Callable[[type[Any]], Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[Sequence[Part], list[Supervised], set[str]]:
    """The parts of a process, whose checks are its readiness; its loops, and which of them there are at least."""
    module, run, settings, names = PROCESSES[request.param]
    before = {id(each) for each in _supervised()}
    taken: list[Part] = []

    async def take(parts: Sequence[Part], **_: Any) -> int:
        taken.extend(parts)
        return 0

    monkeypatch.setattr(module, "run_service", take)
    assert await run(settings_of(settings)) == 0
    return taken, [each for each in _supervised() if id(each) not in before], names


def _supervised() -> Iterator[Supervised]:
    gc.collect()
    return (each for each in gc.get_objects() if type(each) is Supervised)


async def _found(parts: Sequence[Part]) -> str:
    """What the parts say that have loops; those that ask servers, which are not there, have none."""
    servers = (Connection, EventStore, PoolPart, TopologyCheck)
    return "; ".join([str(await part.check()) for part in parts if not isinstance(part, servers)])


async def test_loop_that_dies_hangs_or_gets_nowhere_is_named_by_its_process(
    process: tuple[Sequence[Part], list[Supervised], set[str]],
) -> None:
    """Each of them, in each process, however it is kept: as a part, or inside of one."""
    parts, loops, names = process
    assert {loop.name for loop in loops} >= names
    forever = asyncio.create_task(asyncio.Event().wait())
    for loop in loops:
        loop._task, loop._progress_at = forever, float("inf")  # type: ignore[assignment]
    for loop in loops:
        loop.failed(PlatformError(errors.INTERNAL, f"injected into {loop.name}"))
        assert f"injected into {loop.name}" in await _found(parts)
        loop.progressed()
        loop._progress_at = float("-inf")
        assert f"{loop.name} has made no progress" in await _found(parts), "whatever it waits for, it is told"
        loop._progress_at = float("inf")
        loop._task = None
        assert f"{loop.name} is not running" in await _found(parts)
        loop._task = forever  # type: ignore[assignment]
    forever.cancel()


TASKS = {
    "chassis/asking.py": "one question, which has a time; of one without an end no other is begun",
    "chassis/bus/broker.py": "tells the server that a message is worked on, until its handler ends, which has a time",
    "chassis/bus/connection.py": "the start of a connection, which has a time",
    "chassis/claims/performance.py": "tells progress, which may be lost",
    "chassis/claims/loop.py": "the runs themselves (`Standstills`), and the wait for the end of a loop",
    "chassis/life/init_system.py": "tells the init system of the loop: of one that hangs it begins the process anew",
    "chassis/life/together.py": "the services of one process, which ends with any of them",
    "chassis/life/runtime.py": "waits for ends and starts of parts",
    "chassis/life/tasks.py": "the supervisor",
    "chassis/reading/stream_reader.py": "reads ahead; its answer is waited for with a time",
    "chassis/timers/loop.py": "one timer's handling, whose claim has a time",
    "chassis/record/eventstore.py": "the end of a store, which has a time",
    "gateway/auth/denials.py": "windows that are written down, each save of which has a time; a stop waits for them",
    "gateway/monitoring/monitor.py": "of one open socket, which is closed when one of them ends",
    "gateway/monitoring/status_board.py": "of those who wait for an answer",
    "gateway/__main__.py": "ends the process when it ends",
    "gateway/projections/projector.py": "a build, whose standstill the projector tells",
    "gateway/projections/session.py": "one question, which has a time",
    "gateway/wire/readiness.py": "one look, whose checks have a time",
    "gateway/wire/server.py": "the HTTP server, whose end ends the process",
    "services/recovery/looking.py": "one answer, which has a time",
    "services/executor/performance.py": "writes down that reading has begun, and is waited for",
}


def test_whatever_runs_as_long_as_its_process_is_supervised() -> None:
    """A task of its own is one that ends: who adds another says here why nobody has to watch it."""
    found = {
        str(path.relative_to(ROOT))
        for folder in ("chassis", "gateway", "services")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"create_task\(|ensure_future\(", path.read_text())
    }
    assert found <= TASKS.keys()
