"""What runs in a home, as the supervisor last wrote it, and the lock that says that there is a supervisor.

The lock is the kernel's (flock): it goes with the supervisor, however that ends, so that a stale file
can never keep a platform from starting. The state file is a report; whether a process in it still
lives is asked of the kernel, by number and start.
"""

import contextlib
import fcntl
import os
import time
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.files import write_atomically
from deploy.stack.process_identity import ProcessIdentity

REPORT_SECONDS = 5.0
"""A supervisor writes its first report as soon as it holds the home."""
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.05


class Condition(StrEnum):
    """How a part is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    NOT_READY = "not-ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_up(self) -> bool:
        """Whether it does its work."""
        return self in (Condition.READY, Condition.DEGRADED)


class PartState(msgspec.Struct, kw_only=True, rename="camel"):
    """One part. `reason`: why it is not ready. `restarts`: since the platform was started."""

    name: str
    condition: Condition
    process: ProcessIdentity | None = None
    since: datetime | None = None
    ready_seconds: float | None = None
    restarts: int = 0
    reason: str | None = None
    ports: dict[str, int] = {}
    log: str = ""


class PlaceState(msgspec.Struct, kw_only=True, rename="camel"):
    """A folder that the platform needs, and the free space of its disk. `reason`: what is wrong with it."""

    name: str
    path: str
    free_bytes: int | None = None
    total_bytes: int | None = None
    reason: str | None = None


class StackState(msgspec.Struct, kw_only=True, rename="camel"):
    """All parts, in the order of their start. `ready_seconds`: how long the start took in all, once it was done.

    `written`: when the report was written last; a supervisor that lives writes every few seconds. `leftovers`:
    processes of an earlier supervisor that are waited for. `killed`: parts that did not stop when they were asked.
    `stopped_by`: the number of the signal that asked for the stop, where one did.
    """

    home: str
    supervisor: ProcessIdentity
    condition: Condition
    started: datetime
    written: datetime | None = None
    ready_seconds: float | None = None
    parts: list[PartState] = []
    places: list[PlaceState] = []
    leftovers: list[ProcessIdentity] = []
    killed: list[str] = []
    stopped_by: int | None = None

    def part(self, name: str) -> PartState:
        """One part by its name."""
        return next(part for part in self.parts if part.name == name)

    def troubles(self) -> list[tuple[str, str]]:
        """What is not well, by name, with its reason."""
        parts = [
            (part.name, part.reason or f"is {part.condition}")
            for part in self.parts
            if part.condition is not Condition.READY
        ]
        return [*parts, *((place.name, place.reason) for place in self.places if place.reason)]


_STACK_STATE = msgspec.json.Decoder(StackState)


def write_state(path: Path, state: StackState) -> None:
    """Replace the report. It need not outlive a crash of the machine: no process does."""
    write_atomically(path, msgspec.json.encode(state), durable=False)


def read_state(path: Path) -> StackState | None:
    """The last report; None where there is none that can be understood."""
    try:
        return _STACK_STATE.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


class _StopAsked(msgspec.Struct):
    supervisor: ProcessIdentity
    monotonic: float


_STOP_ASKED = msgspec.json.Decoder(_StopAsked)


def stop_asked(path: Path, supervisor: ProcessIdentity) -> float:
    """For how many seconds this supervisor has been asked to stop; from now on, where it has not been before.

    A supervisor that hangs writes no report of it. What cannot be noted on a full disk is asked anew each time.
    """
    now = time.monotonic()
    try:
        asked = _STOP_ASKED.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        asked = None
    # The machine's own clock begins anew when it starts; so does every process.
    if asked is not None and asked.supervisor == supervisor and asked.monotonic <= now:
        return now - asked.monotonic
    with contextlib.suppress(OSError):
        write_atomically(path, msgspec.json.encode(_StopAsked(supervisor, now)), durable=False)
    return 0.0


class HomeLock:
    """Held by the supervisor of a home for as long as it lives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False where another supervisor holds it."""
        for _ in range(_ATTEMPTS):
            # Somebody who only looks (`is_running`) holds it for an instant.
            if self._try(os.O_RDWR | os.O_CREAT):
                return True
            time.sleep(_PAUSE_SECONDS)
        return False

    def _try(self, flags: int) -> bool:
        descriptor = os.open(self._path, flags | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def is_held(self) -> bool:
        """Whether somebody holds it now."""
        # Who only looks needs no right to write: a home whose disk is read-only is looked at, too.
        if not self._try(os.O_RDONLY):
            return True
        self.release()
        return False

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_running(lock_file: Path) -> bool:
    """Whether a supervisor holds this home now."""
    return lock_file.exists() and HomeLock(lock_file).is_held()


def running_state(lock_file: Path, state_file: Path) -> StackState:
    """The report of the supervisor that holds this home. Raises STACK_NOT_RUNNING, and UNAVAILABLE where it has none.

    A report of an earlier supervisor is never taken for it, also not where its process number was given out again.
    """
    deadline = time.monotonic() + REPORT_SECONDS
    while is_running(lock_file):
        state = read_state(state_file)
        if state is not None and state.supervisor.is_alive():
            return state
        if time.monotonic() > deadline:
            raise PlatformError(
                errors.UNAVAILABLE,
                f"a platform holds {lock_file} and has written no report to {state_file} in {REPORT_SECONDS:.0f} s",
                hint="Is the disk full (df -h)? Which process it is: fuser, or lslocks.",
            )
        time.sleep(_PAUSE_SECONDS)
    raise PlatformError(errors.STACK_NOT_RUNNING, f"no platform runs in {state_file.parent.parent}")
