"""The life of a process: order of start and stop, signals, exit codes."""

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.life.health import Health
from chassis.life.runtime import EXIT_CONFIGURATION, EXIT_CRASHED, EXIT_OK, begin, run, run_service
from chassis.settings import ServiceSettings
from contracts import errors
from contracts.errors import PlatformError
from tests.support.eventually import eventually


class Recorded:
    """A part that writes down what happens to it."""

    def __init__(self, name: str, diary: list[str], *, fails: BaseException | None = None) -> None:
        self.name = name
        self._diary = diary
        self._fails = fails

    async def start(self) -> None:
        """Begin, or fail."""
        self._diary.append(f"start {self.name}")
        if self._fails is not None:
            raise self._fails

    async def stop(self) -> None:
        """End."""
        self._diary.append(f"stop {self.name}")

    async def check(self) -> PlatformError | str | None:
        """All is well."""
        return None


async def test_parts_start_in_order_and_stop_in_reverse() -> None:
    """What others stand on is there before them and goes after them."""
    diary: list[str] = []
    stop = asyncio.Event()
    health = Health("executor")
    running = asyncio.create_task(
        run_service(
            [Recorded("nats", diary), Recorded("record", diary), Recorded("bus", diary)], health=health, stop=stop
        )
    )
    await eventually(lambda: len(diary) == 3)

    async def is_ready() -> bool:
        return (await health.report()).status == "ready"

    await eventually(is_ready)
    assert [finding.name for finding in (await health.report()).checks] == ["process", "nats", "record", "bus"]
    stop.set()
    assert await running == EXIT_OK
    assert diary == ["start nats", "start record", "start bus", "stop bus", "stop record", "stop nats"]
    assert (await health.report()).status == "not-ready"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (PlatformError(errors.UNAVAILABLE, "postgres does not answer"), EXIT_CRASHED),
        (PlatformError(errors.INVALID_SETTING, "WEDSYNC_X is missing"), EXIT_CONFIGURATION),
        (RuntimeError("x"), EXIT_CRASHED),
        (asyncio.CancelledError(), EXIT_CRASHED),
    ],
)
async def test_failed_start_stops_what_was_begun(failure: BaseException, code: int) -> None:
    """A part that does not start takes down those before it, itself included, and none after it was touched."""
    diary: list[str] = []
    parts = [Recorded("nats", diary), Recorded("record", diary, fails=failure), Recorded("bus", diary)]
    assert await run_service(parts, health=Health("executor")) == code
    assert diary == ["start nats", "start record", "stop record", "stop nats"]


async def test_nothing_is_asked_before_what_it_stands_on_is_there() -> None:
    """While the database's pool is opened, no check that asks it calls the database away: the start is what is told."""
    diary: list[str] = []
    stop, may_go_on = asyncio.Event(), asyncio.Event()
    health = Health("executor")

    async def asks_the_record() -> PlatformError | None:
        return None if "record" in diary else PlatformError(errors.UNAVAILABLE, "PoolClosed")

    health.add("keys", asks_the_record)

    class Opening(Recorded):
        async def start(self) -> None:
            """Take a while."""
            await super().start()
            await may_go_on.wait()
            diary.append("record")

    class Reading(Recorded):
        async def check(self) -> PlatformError | str | None:
            """As one that reads from the database."""
            return await asks_the_record()

    parts = [Opening("record", diary), Reading("bus", diary)]
    running = asyncio.create_task(run_service(parts, health=health, stop=stop))
    await eventually(lambda: "start record" in diary)
    report = await health.report()
    assert [each.name for each in report.checks] == ["process", "record"]
    assert report.checks[0].reason == "the process is starting: record"
    may_go_on.set()

    async def is_ready() -> bool:
        return (await health.report()).status == "ready"

    await eventually(is_ready)
    assert [each.name for each in (await health.report()).checks] == ["keys", "process", "record", "bus"]
    stop.set()
    assert await running == EXIT_OK


async def test_stop_during_the_start_cancels_it() -> None:
    """A process that waits for its database can be stopped."""
    diary: list[str] = []
    stop = asyncio.Event()

    class Waiting(Recorded):
        async def start(self) -> None:
            """Never return."""
            await super().start()
            await asyncio.Event().wait()

    parts = [Recorded("nats", diary), Waiting("record", diary), Recorded("bus", diary)]
    running = asyncio.create_task(run_service(parts, health=Health("executor"), stop=stop))
    await eventually(lambda: "start record" in diary)
    stop.set()
    assert await running == EXIT_OK
    assert diary == ["start nats", "start record", "stop record", "stop nats"]


async def test_part_that_does_not_stop_keeps_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """All stops together are bounded, whatever a part makes of it; the exit code tells that it was not clean."""
    diary: list[str] = []
    stop = asyncio.Event()
    stop.set()

    class Stuck(Recorded):
        async def stop(self) -> None:
            """Never return."""
            await asyncio.Event().wait()

    class Failing(Recorded):
        async def stop(self) -> None:
            """Fail."""
            raise ValueError("Anna")

    class Deaf(Recorded):
        async def stop(self) -> None:
            """Return long after the cancellation."""
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

    for part in (Stuck, Deaf, Failing):
        diary.clear()
        stopping = asyncio.Event()
        parts = [Recorded("nats", diary), part("bus", diary)]
        running = asyncio.create_task(run_service(parts, health=Health("executor"), stop=stopping, grace_seconds=0.1))
        await eventually(lambda: "start bus" in diary)
        stopping.set()
        assert await running == EXIT_CRASHED
        assert diary[-1] == "stop nats"
    assert [record.message for record in caplog.records].count("a part did not stop cleanly") == 3


class Mayfly(Recorded):
    """A part that ends by itself once it is told to."""

    def __init__(self, name: str, diary: list[str]) -> None:
        super().__init__(name, diary)
        self.die = asyncio.Event()

    async def ended(self) -> BaseException:
        """See `Mortal`."""
        await self.die.wait()
        return RuntimeError("x")


async def test_part_that_ends_by_itself_takes_the_process_down() -> None:
    """A relay that has crashed must not leave a process that looks well."""
    diary: list[str] = []
    part = Mayfly("relay", diary)
    running = asyncio.create_task(run_service([Recorded("nats", diary), part], health=Health("executor")))
    await eventually(lambda: "start relay" in diary)
    part.die.set()
    assert await running == EXIT_CRASHED
    assert diary == ["start nats", "start relay", "stop relay", "stop nats"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (None, 3),
        (PlatformError(errors.INVALID_SETTING, "WEDSYNC_X is missing"), EXIT_CONFIGURATION),
        (PlatformError(errors.UNAVAILABLE, "postgres does not answer"), EXIT_CRASHED),
        (ValueError("Anna"), EXIT_CRASHED),
    ],
)
def test_run_turns_what_is_raised_into_an_exit_code(
    raised: Exception | None, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The supervisor learns whether starting anew can help."""

    async def main() -> int:
        if raised is not None:
            raise raised
        return 3

    assert run(main) == code
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == ([raised] if raised else [])


@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_keys_folder_that_is_not_there_is_a_setting(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Starting anew does not make it; the log names the variable, and what to do."""
    keys = tmp_path / "keys"
    if kind == "folder":
        keys.mkdir()
    elif kind == "file":
        keys.write_text("")
    for name, value in {
        "POSTGRES_DSN": "host=x",
        "POSTGRES_SCHEMA": "config",
        "NATS_URL": "nats://x",
        "KEYS_DIR": str(keys),
        "LOCATIONS_FILE": "/locations.json",
    }.items():
        monkeypatch.setenv(f"WEDSYNC_{name}", value)

    async def main() -> int:
        begin(ServiceSettings, "config")
        return EXIT_OK

    handlers = logging.getLogger().handlers[:]
    try:
        assert run(main) == (EXIT_OK if kind == "folder" else EXIT_CONFIGURATION)
    finally:
        logging.getLogger().handlers[:] = handlers
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["field"] for line in said] == ([] if kind == "folder" else ["WEDSYNC_KEYS_DIR"])
    assert all("WEDSYNC_KEYS_DIR" in line["hint"] for line in said)


def test_unawaited_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A callback that fails in the event loop is a line in the log."""

    async def main() -> int:
        def fail() -> None:
            raise ValueError("Anna")

        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0.01)
        return 0

    assert run(main) == 0
    assert "unhandled in the event loop" in [record.message for record in caplog.records]


_PROCESS = """
import asyncio, sys
from chassis.life.health import Health
from chassis.telemetry.logging import configure
from chassis.life.runtime import run, run_service

class Slow:
    name = "slow"
    async def start(self): print("started", flush=True)
    async def stop(self): print("stopping", flush=True); await asyncio.sleep(float(sys.argv[1]))
    async def check(self): return None

configure("executor")
sys.exit(run(lambda: run_service([Slow()], health=Health("executor"))))
"""


def _process(tmp_path: Path, stop_seconds: float) -> "subprocess.Popen[str]":
    script = tmp_path / "process.py"
    script.write_text(_PROCESS, encoding="utf-8")
    root = str(Path(__file__).resolve().parents[4])
    process = subprocess.Popen(
        [sys.executable, script, str(stop_seconds)],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_stops_gracefully_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end a process cleanly, with exit code 0."""
    process = _process(tmp_path, 0.0)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "stopping\n")
    assert number.name in err


def test_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    """Who asks twice does not want to wait."""
    process = _process(tmp_path, 60.0)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    process.communicate()


_HANGS = """
import asyncio, threading
from chassis.telemetry.logging import configure
from chassis.life.runtime import leave, run

async def deaf():
    while True:
        try: await asyncio.Event().wait()
        except asyncio.CancelledError: pass

async def main():
    global task
    task = asyncio.create_task(deaf())
    asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    await asyncio.sleep(0)
    return 3

configure("executor")
leave(run(main))
"""


def test_process_that_has_stopped_ends_beside_threads_and_tasks_that_do_not() -> None:
    """A call that hangs in one of the loop's threads would be waited for without a bound, and so would a deaf task."""
    done = subprocess.run([sys.executable, "-c", _HANGS], timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "the process ends beside what does not" in done.stderr


async def test_check_of_the_process_names_its_phase() -> None:
    """While it starts, a process is not ready whatever its parts say."""
    stop = asyncio.Event()
    gate = asyncio.Event()

    class Gated(Recorded):
        async def start(self) -> None:
            """Wait for the gate."""
            await gate.wait()

    health = Health("executor")
    running = asyncio.create_task(run_service([Gated("nats", [])], health=health, stop=stop))
    await asyncio.sleep(0)
    finding = (await health.report()).checks[0]
    assert (finding.name, finding.status) == ("process", "not-ready")
    gate.set()
    stop.set()
    assert await running == EXIT_OK


async def test_what_was_made_for_the_start_is_no_work_for_the_garbage_collector() -> None:
    """A full collection while requests are answered does not walk over everything that was imported."""
    stop = asyncio.Event()
    diary: list[str] = []
    running = asyncio.create_task(run_service([Recorded("a", diary)], health=Health("executor"), stop=stop))
    await eventually(lambda: gc.get_freeze_count() > 10_000)
    stop.set()
    assert await running == EXIT_OK
    assert gc.get_freeze_count() == 0
