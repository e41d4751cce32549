"""Whether a process is alive, and whether it can do its work: what the probes and the supervisor read.

Promise: `/health/live` answers as long as the event loop runs; `/health/ready` answers 200 only when
every check passes, and otherwise says which does not, with the error's code, its reason and what to
do about it; `/metrics` is the Prometheus exposition of the process. The server listens on an
internal port and takes no input but the path.
"""

from collections.abc import Awaitable, Callable

import msgspec

from chassis.telemetry import Telemetry
from contracts.errors import PlatformError

Check = Callable[[], Awaitable[PlatformError | str | None]]


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One check and what it found. `status` is `ready`, `degraded` (works, but somebody should look) or `not-ready`."""

    name: str
    status: str
    code: str | None = None
    reason: str | None = None
    hint: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `/health/ready` answers: the worst status of all checks, and each of them."""

    service: str
    status: str
    checks: tuple[Finding, ...]


class Health:
    """The checks of a process. A check returns None where all is well, else an error (or a plain reason)."""

    def __init__(self, service: str, *, check_seconds: float = 5.0) -> None:
        raise NotImplementedError

    def add(self, name: str, check: Check) -> None:
        """Take a check into the readiness report. A check that takes longer than `check_seconds` counts as failed."""
        raise NotImplementedError

    def degrade(self, name: str, error: PlatformError) -> None:
        """Note something that went wrong although the process goes on; `/health/ready` shows it until `restore`."""
        raise NotImplementedError

    def restore(self, name: str) -> None:
        """Take back what `degrade` noted under this name."""
        raise NotImplementedError

    async def report(self) -> Report:
        """Run all checks at the same time and say what they found."""
        raise NotImplementedError


class HealthServer:
    """Serves `/health/live`, `/health/ready` and `/metrics`; a part of a process (see `chassis.runtime`)."""

    name = "health"

    def __init__(self, health: Health, telemetry: Telemetry, *, host: str = "127.0.0.1", port: int = 0) -> None:
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that is listened on, once started (0 asks the system for a free one)."""
        raise NotImplementedError

    async def start(self) -> None:
        """Listen."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop listening; requests under way are answered."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """Always well: who can ask has reached it."""
        raise NotImplementedError


async def answer(health: Health, telemetry: Telemetry, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body for a path; for a process that serves the probes on its own HTTP server."""
    raise NotImplementedError
