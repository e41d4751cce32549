"""What the supervisor starts: parts, which run until they are stopped, and steps, which are done once."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.child import Launch
from deploy.stack.probes import Probe


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program.

    `launch` is asked anew at each start. `needs`: parts and steps that must be ready first; they are also
    stopped only after this one. `live`: where it fails for `hang_seconds` on end the program is killed and
    started anew; a program that it finds alive does not fail the platform's start by not being ready.
    `ready_seconds` bounds the first start, `stop_seconds` the graceful stop.
    """

    name: str
    launch: Callable[[], Launch]
    probe: Probe
    log: Path
    needs: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 20.0
    ready_seconds: float = 60.0
    live: Probe | None = None
    hang_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that is done once in each start of the platform; what needs it waits for its end."""

    name: str
    run: Callable[[], Awaitable[None]]
    needs: tuple[str, ...] = ()
