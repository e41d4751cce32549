"""The report of what runs, and the lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from contracts.errors import STACK_NOT_RUNNING, PlatformError
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.state import (
    Condition,
    HomeLock,
    PartState,
    StackState,
    is_running,
    read_state,
    running_state,
    write_state,
)


def _state() -> StackState:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    return StackState(
        home="/home",
        supervisor=own,
        condition=Condition.READY,
        started=SystemClock().now(),
        parts=[PartState(name="nats", condition=Condition.READY, process=own, ports={"nats": 1})],
    )


def test_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Nothing is lost on the way through the file."""
    state = _state()
    write_state(tmp_path / "stack.json", state)
    assert read_state(tmp_path / "stack.json") == state


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_report_that_cannot_be_read_counts_as_none(tmp_path: Path, content: bytes | None) -> None:
    """A missing or damaged report is none, and no error."""
    if content is not None:
        (tmp_path / "stack.json").write_bytes(content)
    assert read_state(tmp_path / "stack.json") is None


def test_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """A second supervisor does not get the home until the first gives it back."""
    first, second = HomeLock(tmp_path / "lock"), HomeLock(tmp_path / "lock")
    assert not is_running(tmp_path / "lock")
    assert first.acquire()
    assert is_running(tmp_path / "lock")
    assert not second.acquire()
    first.release()
    assert not is_running(tmp_path / "lock")
    assert second.acquire()
    second.release()


def test_lock_goes_with_its_process(tmp_path: Path) -> None:
    """A supervisor that was killed leaves no lock behind."""
    program = (
        "import sys; from pathlib import Path; from deploy.stack.state import HomeLock; "
        f"assert HomeLock(Path({str(tmp_path / 'lock')!r})).acquire(); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert is_running(tmp_path / "lock")
        child.kill()
    assert not is_running(tmp_path / "lock")


def test_running_state_does_not_believe_a_report_without_a_lock(tmp_path: Path) -> None:
    """The report of a run that has ended says nothing about now."""
    write_state(tmp_path / "stack.json", _state())
    with pytest.raises(PlatformError) as refusal:
        running_state(tmp_path / "lock", tmp_path / "stack.json")
    assert refusal.value.code is STACK_NOT_RUNNING
    lock = HomeLock(tmp_path / "lock")
    assert lock.acquire()
    assert running_state(tmp_path / "lock", tmp_path / "stack.json").parts[0].name == "nats"
    lock.release()
