"""The supervisor with real processes: order, restart, hang, stop, and the death of the supervisor itself."""

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_launch

from chassis.disk import Disk
from chassis.life.runtime import EXIT_CONFIGURATION
from contracts.errors import HOME_UNUSABLE, STACK_FAILED, PlatformError
from deploy.stack import silence, watch
from deploy.stack import supervisor as supervisor_module
from deploy.stack.child import Launch
from deploy.stack.part import Part, Step
from deploy.stack.probes import Grade, Trouble
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.state import Condition, PlaceState, StackState
from deploy.stack.stores import StoreGone
from tests.component.deploy.conftest import Workbench, touches
from tests.support.eventually import eventually
from tests.support.hung_mount import hung_mount

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).resolve().parents[3]


async def test_supervisor_starts_a_part_only_after_what_it_needs_is_ready(workbench: Workbench) -> None:
    """A part that needs another starts when the other is ready, through a step in between as well."""
    gate = workbench.folder / "gate"
    order: list[str] = []

    async def note() -> str:
        order.append("step")
        return "something was lost"

    units: list[Part | Step] = [
        workbench.waiting_part("service", needs=("step",)),
        Step(name="step", run=note, needs=("database",)),
        workbench.part("database", "import time; time.sleep(600)", ready=gate),
    ]
    async with workbench.running(units):
        await eventually(lambda: workbench.part_state("database").process)
        assert workbench.part_state("service").condition is Condition.WAITING
        assert order == []
        gate.touch()
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
        assert order == ["step"]
    assert [line.split()[0] for line in workbench.said if "stopped" in line] == ["service", "database"]
    assert next(line for line in workbench.said if line.startswith("step ")).endswith("; something was lost")


async def test_supervisor_loads_a_part_early_and_lets_it_begin_in_its_turn(workbench: Workbench) -> None:
    """Its process is there at once, does nothing before what it needs is ready, and is made anew when killed."""
    gate, up = workbench.folder / "gate", workbench.folder / "service.up"
    waiting = f"import sys; sys.stdin.read(1); {touches(up)}"
    plain = workbench.part("service", waiting, ready=up, needs=("database",))
    service = replace(plain, launch=lambda: replace_launch(plain.launch(), waits=True), is_loaded_early=True)
    units = [service, workbench.part("database", "import time; time.sleep(600)", ready=gate)]
    async with workbench.running(units):
        process = await eventually(lambda: workbench.part_state("service").process)
        assert workbench.part_state("service").condition is Condition.WAITING
        assert not up.exists()
        gate.touch()
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
        assert workbench.pid("service") == process.pid
        up.unlink()
        os.kill(process.pid, signal.SIGKILL)
        await eventually(lambda: workbench.part_state("service").restarts == 1 and up.exists())


async def test_supervisor_starts_anew_what_has_ended_before_its_turn(workbench: Workbench) -> None:
    """A process that was loaded early and has ended meanwhile is no obstacle; stopping ends one that still waits."""
    gate, up = workbench.folder / "gate", workbench.folder / "service.up"
    plain = workbench.part("service", f"import sys; sys.stdin.read(1); {touches(up)}", ready=up, needs=("database",))
    service = replace(plain, launch=lambda: replace_launch(plain.launch(), waits=True), is_loaded_early=True)
    units = [service, workbench.part("database", "import time; time.sleep(600)", ready=gate)]
    async with workbench.running(units):
        process = await eventually(lambda: workbench.part_state("service").process)
        os.kill(process.pid, signal.SIGKILL)
        await eventually(lambda: not process.is_alive())
        gate.touch()
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
        assert workbench.pid("service") != process.pid
    gate.unlink()
    workbench.stop.clear()
    async with workbench.running(units):
        waiting = await eventually(lambda: workbench.part_state("service").process)
    assert not waiting.is_alive()


@pytest.mark.parametrize("module", ["services.executor", "services.executor.worker"])
def test_program_that_is_loaded_early_is_itself(module: str) -> None:
    """With the word it does what it does when it is started by its name; without, it ends."""
    command = [sys.executable, "-m", "deploy.stack.early", module]
    told = subprocess.run(command, input=b"\n", env={}, cwd=ROOT, capture_output=True, check=False, timeout=60)
    named = subprocess.run(
        [sys.executable, "-m", module], env={}, cwd=ROOT, capture_output=True, check=False, timeout=60
    )
    assert told.returncode == named.returncode == EXIT_CONFIGURATION
    assert b"WEDSYNC_POSTGRES_DSN" in told.stderr
    assert subprocess.run(command, stdin=subprocess.DEVNULL, env={}, cwd=ROOT, check=False, timeout=60).returncode == 0


async def test_supervisor_restarts_a_part_that_was_killed(workbench: Workbench) -> None:
    """A part that dies is started anew, and the report counts it."""
    async with workbench.running([workbench.waiting_part("service")]):
        await eventually(lambda: workbench.pid("service"))
        first = workbench.pid("service")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: workbench.pid("service") != first)
        assert workbench.part_state("service").restarts == 1
        assert any("signal 9" in line for line in workbench.said)


async def test_supervisor_pauses_longer_between_restarts(workbench: Workbench) -> None:
    """A part that ends again and again after a good start is started with growing pauses, and never given up."""
    flag = workbench.folder / "service.up"
    program = f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(0.3)"
    async with workbench.running([workbench.part("service", program, ready=flag)]):
        pauses = await eventually(
            lambda: (found := re.findall(r"starts again in ([0-9.]+) s", "\n".join(workbench.said)))[3:] and found
        )
        assert [float(pause) for pause in pauses[:4]] == [0.2, 0.4, 0.8, 1.6]
        keeps_failing = next(line for line in workbench.said if "4 times in a row" in line)
        assert "wedsync-backup logs service -n 50; docs/operations.md, section 2" in keeps_failing
        assert str(workbench.folder / "service.log") in keeps_failing


async def test_part_that_keeps_failing_is_not_ready_between_two_deaths(workbench: Workbench) -> None:
    """Up for a moment is not well: it is degraded, with the count and what it said last, until it has held."""
    flag = workbench.folder / "service.up"
    program = (
        f"import os, pathlib, time; flag = pathlib.Path({str(flag)!r}); flag.unlink(missing_ok=True); "
        f"deaths = pathlib.Path({str(workbench.folder / 'deaths')!r}); before = len(deaths.read_bytes()) "
        "if deaths.exists() else 0; deaths.write_bytes(b'x' * (before + 1)); flag.touch(); "
        "time.sleep(0.3 if before < 4 else 600); raise SystemExit('no more')"
    )
    async with workbench.running([workbench.part("service", program, ready=flag)]):
        await eventually(lambda: (state := workbench.part_state("service")).restarts == 4 and state.condition.is_up)
        state = workbench.part_state("service")
        assert state.condition is Condition.DEGRADED
        assert "it failed 4 times in a row" in (state.reason or "")
        assert "no more" in (state.reason or "")


async def test_supervisor_fails_the_start_when_a_part_ends_before_it_is_ready(workbench: Workbench) -> None:
    """A start that cannot succeed ends with the part's last words, and leaves nothing running."""
    units = [
        workbench.waiting_part("database"),
        workbench.part("service", "raise SystemExit('no such setting')", ready=workbench.folder / "never"),
    ]
    with pytest.raises(PlatformError, match=r"service ended with exit code 1 before it was ready.*no such") as e:
        await workbench.run(units)
    assert e.value.code is STACK_FAILED
    assert workbench.part_state("database").condition is Condition.STOPPED
    assert workbench.reports[-1] is Condition.FAILED


async def test_supervisor_fails_the_start_when_a_part_is_not_ready_in_time(workbench: Workbench) -> None:
    """A part that runs but never becomes ready ends the start with the reason that its probe gave."""
    part = workbench.part(
        "service", "import time; time.sleep(600)", ready=workbench.folder / "never", ready_seconds=0.5
    )
    with pytest.raises(PlatformError, match="service is not ready in time: has not said so yet"):
        await workbench.run([part])
    assert workbench.part_state("service").condition is Condition.STOPPED


async def test_supervisor_does_not_retry_a_part_whose_settings_are_wrong(workbench: Workbench) -> None:
    """Exit code 78 says that starting anew does not help, so the start fails at once."""
    part = workbench.part("service", "raise SystemExit(78)", ready=workbench.folder / "never")
    with pytest.raises(PlatformError, match="exit code 78"):
        await workbench.run([part])
    assert workbench.part_state("service").restarts == 0


async def test_supervisor_fails_the_start_when_a_step_fails(workbench: Workbench) -> None:
    """A step's error ends the start under its own code, and what ran is stopped."""

    async def refuse() -> None:
        raise PlatformError(STACK_FAILED, "the bucket has no lock")

    with pytest.raises(PlatformError, match="the bucket has no lock"):
        await workbench.run([workbench.waiting_part("s3"), Step(name="bucket", run=refuse, needs=("s3",))])
    assert workbench.part_state("s3").condition is Condition.STOPPED


async def test_supervisor_kills_a_part_that_hangs(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that lives but does not answer is killed and started anew."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    healthy = workbench.folder / "service.up"

    async def live() -> Trouble | None:
        return None if healthy.exists() else Trouble("silent")

    async with workbench.running([workbench.waiting_part("service", live=live, hang_seconds=0.3)]):
        await eventually(lambda: workbench.pid("service"))
        first = workbench.pid("service")
        healthy.unlink()
        await eventually(lambda: workbench.pid("service") != first)
        assert any("has not answered for 0 s (has not said so yet); starts again" in line for line in workbench.said)


async def test_supervisor_does_not_kill_a_healthy_part_on_a_starved_machine(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unanswered questions count only where the supervisor itself got its turns meanwhile."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.02)
    asked = 0
    starved = True

    async def probe() -> Trouble | None:
        nonlocal asked
        asked += 1
        return None if asked == 1 else Trouble("does not answer", restart_helps=True)

    monkeypatch.setattr(silence.LoopLag, "was_starved_since", lambda _lag, _moment: starved)
    part = workbench.part("service", "import time; time.sleep(600)", probe=probe, hang_seconds=0.1)
    async with workbench.running([part]):
        await eventually(lambda: asked > 30)
        assert workbench.part_state("service").restarts == 0
        starved = False
        await eventually(lambda: workbench.part_state("service").restarts == 1)


async def test_loop_lag_is_noticed() -> None:
    """A process that gets no turn for half a second knows."""
    lag = silence.LoopLag()
    task = asyncio.create_task(lag.run())
    before = time.monotonic()
    await asyncio.sleep(0)
    time.sleep(silence.LOOK_SECONDS + 2 * silence.STARVED_SECONDS)  # nobody else gets a turn: that is what is tested
    try:
        await eventually(lambda: lag.was_starved_since(before))
        assert not lag.was_starved_since(time.monotonic())
    finally:
        task.cancel()


async def test_supervisor_ends_at_once_a_part_whose_store_is_lost(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a part acknowledges is lost: it gets no time, and says why it was ended."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    found: list[Trouble | None] = [None]

    async def probe() -> Trouble | None:
        return found[0]

    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    async with workbench.running([workbench.part("s3", program, probe=probe)]):
        await eventually(lambda: workbench.pid("s3"))
        found[0] = Trouble("its data is gone", Grade.LOST)
        await eventually(lambda: workbench.part_state("s3").restarts)
        assert any("its data is gone; starts again" in line for line in workbench.said)
        found[0] = None


async def test_start_goes_on_without_a_part_whose_store_is_gone(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown as failed with what to do, starts once its store is back, and others are not kept from starting."""
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE_SECONDS", 0.1)
    part = workbench.waiting_part("s3")
    is_gone = True

    def launch() -> Launch:
        if is_gone:
            raise StoreGone(HOME_UNUSABLE, "the store of s3 is not there", hint="Bring it back.")
        return part.launch()

    async with workbench.running([replace(part, launch=launch), workbench.waiting_part("other")]):
        await eventually(lambda: workbench.state is not None and workbench.state.ready_seconds)
        assert workbench.state is not None
        assert workbench.state.condition is Condition.DEGRADED
        assert workbench.part_state("s3").condition is Condition.FAILED
        assert workbench.part_state("s3").reason == "the store of s3 is not there. Bring it back."
        is_gone = False
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
    assert len([line for line in workbench.said if "is not started" in line]) == 1


async def test_start_fails_where_a_part_that_others_need_has_lost_its_store(workbench: Workbench) -> None:
    """Nothing works without the record, and it is not begun anew in silence."""
    part = workbench.waiting_part("postgres")

    def launch() -> Launch:
        raise StoreGone(HOME_UNUSABLE, "the store of postgres is not there", hint="Bring it back.")

    units = [replace(part, launch=launch), workbench.waiting_part("service", needs=("postgres",))]
    with pytest.raises(PlatformError, match="the store of postgres is not there"):
        await workbench.run(units)


async def test_refusal_quotes_only_what_was_said_since_this_start(workbench: Workbench) -> None:
    """The last words of an earlier run are not the reason of this failure."""
    log = workbench.folder / "service.log"
    log.write_text("could not locate a valid checkpoint record\n")
    part = workbench.part("service", "raise SystemExit(78)", ready=workbench.folder / "never")
    with pytest.raises(PlatformError, match="it said nothing") as refusal:
        await workbench.run([part])
    assert "checkpoint" not in str(refusal.value)
    assert str(log) in str(refusal.value)


async def test_report_is_written_while_nothing_happens(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its age says whether the supervisor lives and can write."""
    monkeypatch.setattr(supervisor_module, "TICK_SECONDS", 0.05)
    async with workbench.running([workbench.waiting_part("service")]):
        await eventually(lambda: workbench.pid("service"))
        assert workbench.state is not None
        before = workbench.state.written
        assert before is not None
        await eventually(lambda: workbench.state is not None and workbench.state.written != before)


async def test_supervisor_kills_a_part_that_does_not_stop(workbench: Workbench) -> None:
    """A part that ignores the request to stop is killed with its children when its time is over."""
    flag = workbench.folder / "service.up"
    program = (
        "import pathlib, signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen(['sleep', '600']); "
        f"pathlib.Path({str(flag)!r}).write_text(str(child.pid)); time.sleep(600)"
    )
    async with workbench.running([workbench.part("service", program, ready=flag, stop_seconds=0.3)]) as task:
        await eventually(lambda: flag.exists() and flag.read_text())
        grandchild = ProcessIdentity.of(int(flag.read_text()))
        assert grandchild is not None
        await eventually(lambda: workbench.pid("service"))
        workbench.stop.set()
        await task
    assert any("killed, it did not stop" in line for line in workbench.said)
    await eventually(lambda: not grandchild.is_alive())


async def test_supervisor_reports_a_part_that_is_no_longer_ready(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that loses its readiness is shown with its reason, and the platform as degraded, until it is back."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    up = workbench.folder / "service.up"
    async with workbench.running([workbench.waiting_part("service")]):
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
        up.unlink()
        await eventually(lambda: workbench.part_state("service").condition is Condition.NOT_READY)
        assert workbench.part_state("service").reason == "has not said so yet"
        assert workbench.state is not None
        assert workbench.state.condition is Condition.DEGRADED
        up.touch()
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)


async def test_supervisor_shows_a_part_that_is_degraded(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that works but wants to be looked at is shown so, in a report that can be read, and counts as started."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    troubles: list[Trouble | None] = [Trouble("a publish was refused", Grade.DEGRADED)]

    async def probe() -> Trouble | None:
        return troubles[0]

    async with workbench.running([workbench.part("service", "import time; time.sleep(600)", probe=probe)]):
        await eventually(lambda: workbench.state is not None and workbench.state.ready_seconds)
        assert workbench.state is not None
        assert workbench.state.condition is Condition.DEGRADED
        assert workbench.part_state("service").reason == "a publish was refused"
        troubles[0] = None
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
    told = [line for line in workbench.said if "pid" in line]
    assert len(told) == 1
    assert "up, but degraded: a publish was refused; " in told[0]


async def test_start_goes_on_without_a_part_that_waits_for_an_operator(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What mends the part needs the platform to be up: the start ends as degraded, and nothing is stopped."""
    monkeypatch.setattr(watch, "OPERATOR_SECONDS", 0.2)

    async def probe() -> Trouble | None:
        return Trouble("relay: the stream is another log's [stream-of-another-log]", Grade.NEEDS_OPERATOR)

    async def live() -> Trouble | None:
        return None

    units = [
        workbench.part("gateway", "import time; time.sleep(600)", probe=probe, live=live),
        workbench.waiting_part("executor", needs=("gateway",)),
    ]
    async with workbench.running(units):
        await eventually(lambda: workbench.state is not None and workbench.state.ready_seconds)
        assert workbench.state is not None
        assert workbench.state.condition is Condition.DEGRADED
        assert workbench.part_state("gateway").condition is Condition.NOT_READY
        assert "another log's" in (workbench.part_state("gateway").reason or "")
        assert workbench.pid("executor")


async def test_supervisor_keeps_watching_when_a_probe_breaks(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe that fails with an error of its own is a reason, not the end of the watch."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    answers = iter([None, RuntimeError("cannot be parsed"), None])

    async def probe() -> Trouble | None:
        answer = next(answers, None)
        if answer is not None:
            raise answer
        return None

    async with workbench.running([workbench.part("service", "import time; time.sleep(600)", probe=probe)]):
        await eventually(lambda: Condition.DEGRADED in workbench.reports)
        await eventually(lambda: workbench.part_state("service").condition is Condition.READY)


async def test_parts_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    """Kill -9 of the supervisor leaves no part running, also not one that ignores polite signals."""
    program = f"""
import asyncio
from pathlib import Path
from tests.component.deploy.conftest import Workbench, touches
bench = Workbench(Path({str(tmp_path)!r}))
stubborn = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " \\
           "pathlib.Path({str(tmp_path / "stubborn.up")!r}).touch(); time.sleep(600)"
async def main():
    def started(seconds):
        print(*(part.process.pid for part in bench.state.parts), flush=True)
    units = [bench.waiting_part("polite"), bench.part("stubborn", stubborn, ready=bench.folder / "stubborn.up")]
    await bench.run(units, started)
asyncio.run(main())
"""
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    try:
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        parts = [ProcessIdentity.of(pid) for pid in pids]
        assert len(parts) == 2
        assert all(part is not None and part.is_alive() for part in parts)
    finally:
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
    await eventually(lambda: not any(part is not None and part.is_alive() for part in parts))


async def test_supervisor_rotates_a_log_that_grows(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part's log is cut while the part goes on writing to it."""
    monkeypatch.setattr(supervisor_module, "TICK_SECONDS", 0.05)
    monkeypatch.setattr("deploy.stack.supervisor.rotate", _rotate_at_10_kb)
    program = "import time\nwhile True: print('x' * 100, flush=True); time.sleep(0.0005)"
    log = workbench.folder / "chatty.log"
    async with workbench.running([workbench.part("chatty", program)]):
        await eventually(lambda: (workbench.folder / "chatty.log.2").exists())
        before = log.stat().st_ino
        await eventually(lambda: log.stat().st_size > 0)
        assert log.stat().st_ino == before
    assert set(log.with_name("chatty.log.1").read_text()) == {"x", "\n"}


def _rotate_at_10_kb(path: Path) -> bool:
    from deploy.stack.logs import rotate

    return rotate(path, max_bytes=10_000, kept=3)


async def test_part_that_cannot_be_started_is_tried_again(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for a while costs pauses, and neither the part nor the others."""
    part = workbench.waiting_part("service")
    fails = [OSError(28, "No space left on device"), PlatformError(STACK_FAILED, "cannot be configured")]
    is_full = False

    def launch() -> Launch:
        if is_full and fails:
            raise fails.pop()
        return part.launch()

    async with workbench.running([replace(part, launch=launch)]):
        await eventually(lambda: workbench.pid("service"))
        first, is_full = workbench.pid("service"), True
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: workbench.pid("service") != first)
        assert workbench.part_state("service").restarts == 3
    assert any("cannot be started ([Errno 28] No space left on device)" in line for line in workbench.said)


async def test_start_fails_when_a_part_cannot_be_started_at_all(workbench: Workbench) -> None:
    """A program that is not there ends the start after a few attempts."""
    part = workbench.waiting_part("service")

    def launch() -> Launch:
        return replace_launch(part.launch(), argv=("/no/such/program",))

    with pytest.raises(PlatformError, match=r"service cannot be started .*No such file"):
        await workbench.run([replace(part, launch=launch)])


async def test_report_that_cannot_be_written_stops_nothing(workbench: Workbench) -> None:
    """While the disk is full the report grows old; parts are looked after, and the report is written again later."""
    is_full = True
    written: list[Condition] = []

    def report(state: StackState) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        written.append(state.condition)

    workbench.take_report = report
    async with workbench.running([workbench.waiting_part("service")]):
        await eventually(lambda: workbench.pid("service"))
        first = workbench.pid("service")
        is_full = False
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: workbench.pid("service") != first)
        assert written
    assert len([line for line in workbench.said if "report cannot be written" in line]) == 1


async def test_kill_ends_every_part_at_once(workbench: Workbench) -> None:
    """A second Ctrl-C does not wait for parts that do not stop."""
    flag = workbench.folder / "stubborn.up"
    program = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(flag)!r}).touch(); time.sleep(600)"
    )
    async with workbench.running([workbench.part("stubborn", program, ready=flag, stop_seconds=60.0)]) as task:
        await eventually(lambda: workbench.pid("stubborn"))
        workbench.stop.set()
        await eventually(lambda: workbench.part_state("stubborn").condition is Condition.STOPPING)
        assert workbench.supervisor is not None
        workbench.supervisor.kill()
        await asyncio.wait_for(task, 60)


async def test_supervisor_goes_on_looking_whatever_a_look_raises(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that nobody foresaw is told once, and the report is written on: it is well again by itself."""
    monkeypatch.setattr(supervisor_module, "TICK_SECONDS", 0.02)
    looks = 0

    async def look() -> list[PlaceState]:
        nonlocal looks
        looks += 1
        if 5 < looks < 10:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return [PlaceState(name="local", path="/", reason="is away" if looks < 15 else None)]

    workbench.look = look
    async with workbench.running([workbench.waiting_part("service")]):
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
    assert len([line for line in workbench.said if "cannot look at the folders: OSError" in line]) == 1
    assert any(line.split()[0] == "local" and "is well again" in line for line in workbench.said)


async def test_part_whose_disk_hangs_keeps_no_other_from_being_started_again(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another part that is killed is back at once, the hung one is named, and the stop takes its bounded time."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.05)
    folder = workbench.folder / "store"
    folder.mkdir()
    disk = Disk(folder)

    async def probe() -> Trouble | None:
        try:
            await disk.ask(folder.stat, seconds=0.2)
        except OSError as error:
            return Trouble(f"{folder}: {error.strerror}")
        return None

    units = [workbench.part("s3", "import time; time.sleep(600)", probe=probe), workbench.waiting_part("service")]
    async with workbench.running(units) as run:
        await eventually(lambda: workbench.state is not None and workbench.state.condition is Condition.READY)
        with hung_mount(folder):
            await eventually(lambda: workbench.part_state("s3").condition is Condition.NOT_READY)
            assert f"{folder}: it does not answer" in str(workbench.part_state("s3").reason)
            first = workbench.pid("service")
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: workbench.pid("service") != first)
            workbench.stop.set()
            await asyncio.wait_for(run, 60)
    assert workbench.part_state("s3").restarts == 0


async def test_part_whose_store_is_still_being_opened_is_not_started_by_a_stop(workbench: Workbench) -> None:
    """What was waited for may come while the platform stops: nothing is started then, behind everybody's back."""
    opening, opened = asyncio.Event(), asyncio.Event()

    async def open_store() -> None:
        opening.set()
        await opened.wait()

    async def probe() -> Trouble | None:
        return None

    slow = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    units = [
        workbench.waiting_part("s3", open=open_store),
        workbench.part("service", slow, probe=probe, stop_seconds=1.0),
    ]
    async with workbench.running(units) as run:
        await opening.wait()
        await eventually(lambda: "up" in (workbench.folder / "service.log").read_text())
        workbench.stop.set()
        await eventually(lambda: workbench.part_state("s3").condition is Condition.STOPPED)
        opened.set()
        await run
    assert workbench.part_state("s3").process is None
    assert not (workbench.folder / "s3.up").exists()


async def test_time_of_a_start_counts_from_when_it_was_asked_for(workbench: Workbench) -> None:
    """What came before the supervisor (parts of the last run that had to end) was waited for, too."""
    workbench.begun = time.monotonic() - 1000
    told: list[float] = []
    task = asyncio.create_task(workbench.run([workbench.waiting_part("one")], told.append))
    try:
        await eventually(lambda: told)
    finally:
        workbench.stop.set()
        await task
    assert told[0] > 1000
