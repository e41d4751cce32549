"""What the supervisor starts: parts, which run until they are stopped, and steps, which are done once."""

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.stack.child import Launch
from deploy.stack.probes import Probe

SERVICE_STOP_SECONDS = 8.0
SERVER_STOP_SECONDS = 5.0
"""Our own processes are stopped first, then the servers: a stop of the platform takes 15 seconds at most."""
UNNEEDED_STOP_SECONDS = 14.0
"""Of a server that no other part needs: it is stopped from the beginning, beside our own processes."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program.

    `open` and `launch` are asked anew at each start; `launch` waits for no disk but the home's. `needs`: parts and
    steps that must be ready first; they are also stopped only after this one. `live`: whether the program answers at
    all, where the probe asks for more; a program that it finds alive does not fail the platform's start by not being
    ready. An answer may take `answer_seconds`: generous, since on a starved machine a healthy server is slow. One that
    is silent for `hang_seconds` on end (that says so of itself where `live` is None: `Trouble.restart_helps`) is ended
    and started anew. `ready_seconds` bounds the first start, `stop_seconds` the graceful stop; `kill_signal` is sent
    where that was too long, before the program is killed. `is_loaded_early`: its process is started at once and waits
    for the word to begin (`Launch.waits`), which it gets when everything that it needs is ready.
    """

    name: str
    launch: Callable[[], Launch]
    open: Callable[[], Awaitable[None]] | None = None
    probe: Probe
    log: Path
    needs: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = SERVICE_STOP_SECONDS
    kill_signal: signal.Signals | None = None
    ready_seconds: float = 60.0
    live: Probe | None = None
    answer_seconds: float = 10.0
    hang_seconds: float = 60.0
    is_loaded_early: bool = False


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that is done once in each start of the platform; what needs it waits for its end.

    `run` gives what an operator is to be told of it, if anything.
    """

    name: str
    run: Callable[[], Awaitable[str | None]]
    needs: tuple[str, ...] = ()
