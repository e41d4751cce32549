"""The platform under the demo: the one that runs in the home already, or one that lives as long as the demo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.interruption import may_end_within
from cli.output import say
from cli.patience import patience
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.child import Launch, spawn
from deploy.stack.interpreter import python_path
from deploy.stack.layout import Layout
from deploy.stack.logs import last_lines
from deploy.stack.state import HomeLock, StackState, is_running, read_state

START_SECONDS = 120.0
STOP_SECONDS = 90.0
HURRIED_STOP_SECONDS = 5.0
"""How long parts may take to stop when somebody has pressed Ctrl-C and waits."""
KILL_SECONDS = 5.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class RunningPlatform:
    """A platform that is ready. `ready_seconds`: how long its start took; None where it ran already."""

    layout: Layout
    ready_seconds: float | None


@contextmanager
def platform(home: Path) -> Iterator[RunningPlatform]:
    """A ready platform in a home; what was started for it is stopped at the end. Raises STACK_FAILED."""
    layout = Layout.create(home)
    lock = HomeLock(layout.run / "demo.lock")
    if not lock.acquire():
        # They would delete each other's folders, and one would stop the other's platform.
        raise PlatformError(
            errors.STACK_RUNNING,
            f"another demo works in {layout.home}",
            hint="Wait for its end, or name another home with --home.",
        )
    try:
        with may_end_within(HURRIED_STOP_SECONDS + 3 * KILL_SECONDS):
            yield from _held(layout)
    finally:
        lock.release()


def _held(layout: Layout) -> Iterator[RunningPlatform]:
    if is_running(layout.lock_file):
        _wait(layout, None)
        yield RunningPlatform(Layout.find(layout.home), None)
        return
    process = _start(layout)
    stop_seconds = STOP_SECONDS
    try:
        seconds = _wait(layout, process)
        yield RunningPlatform(Layout.find(layout.home), seconds)
    except KeyboardInterrupt:
        say("Stopping; Ctrl-C once more kills the platform.")
        stop_seconds = HURRIED_STOP_SECONDS
        raise
    finally:
        _stop(process, stop_seconds)


def _start(layout: Layout) -> "subprocess.Popen[bytes]":
    """`wedsync-backup up` as a child that is asked to stop when the demo dies."""
    return spawn(
        Launch(
            argv=(sys.executable, "-P", "-m", "cli", "up", "--home", str(layout.home)),
            # The demo's receiver is on this machine, and nobody watches a demo for a quarter of a minute.
            environment={
                "WEDSYNC_NOTIFY_PRIVATE": "true",
                "WEDSYNC_RUN_RETRY_SECONDS": "4",
                **os.environ,
                "PYTHONPATH": python_path(),
            },
            folder=layout.home,
            log=layout.log("demo-platform"),
            death_signal=signal.SIGTERM,
        )
    )


def _standing(layout: Layout) -> str:
    """Which parts are up, and which are not yet."""
    state = read_state(layout.state_file)
    if state is None or not state.parts:
        return "nothing runs yet"
    waiting = [part.name for part in state.parts if not part.condition.is_up]
    return f"{len(state.parts) - len(waiting)} of {len(state.parts)} parts are ready, not yet {', '.join(waiting)}"


def _wait(layout: Layout, process: "subprocess.Popen[bytes] | None") -> float:
    """Wait until all parts are ready, and say how far they are; the seconds that took."""
    with patience("the platform starts", detail=lambda: _standing(layout)):
        return _ready_seconds(layout, process)


def _ready_seconds(layout: Layout, process: "subprocess.Popen[bytes] | None") -> float:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        state = read_state(layout.state_file)
        if state is not None and _is_it(state, process) and state.ready_seconds is not None:
            return state.ready_seconds
        if process is not None and process.poll() is not None:
            words = " | ".join(last_lines(layout.log("demo-platform"), 3))
            raise PlatformError(errors.STACK_FAILED, f"the platform did not start: {words}", log=str(layout.logs))
        time.sleep(POLL_SECONDS)
    raise PlatformError(errors.STACK_FAILED, f"the platform is not ready after {START_SECONDS:.0f} s")


def _is_it(state: StackState, process: "subprocess.Popen[bytes] | None") -> bool:
    """Whether a report is of the platform that is waited for, and not of one that has ended."""
    return state.supervisor.is_alive() if process is None else state.supervisor.pid == process.pid


def _stop(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Ask the platform to stop, and make it stop where it takes longer, or where somebody asks again by Ctrl-C."""
    process.terminate()
    try:
        with patience("the platform stops"):
            process.wait(seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        say("The platform is killed; its database recovers by itself at the next start.")
        # An interrupt after a request kills its parts; and they die with it.
        process.send_signal(signal.SIGINT)
        try:
            process.wait(KILL_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
