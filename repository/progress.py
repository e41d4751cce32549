"""What a backup or a restore tells of itself while it runs: gauges, at most ten times a second.

Promise: the callback runs on a thread of its own and slows nothing but itself; the last call, with the final
figures, comes before the operation returns. What the callback raises is dropped: telling must not break doing.
"""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

INTERVAL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class TierProgress:
    """One tier: its state, and bytes of packs that it has and that wait for it."""

    state: str
    bytes_sent: int
    bytes_waiting: int
    packs_sent: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is. `found` grows until `is_walk_complete`; bytes are those of the source."""

    files_found: int
    files_done: int
    bytes_found: int
    bytes_done: int
    is_walk_complete: bool
    problems: int = 0
    tiers: dict[str, TierProgress] = field(default_factory=dict)


class Ticker:
    """Calls `tell(look())` now and then. Without `tell` it does nothing."""

    def __init__(self, tell: Callable[[Progress], None] | None, look: Callable[[], Progress]) -> None:
        self._tell = tell
        self._look = look
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to tell."""
        if self._tell is not None:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Tell a last time and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._once()

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            self._once()

    def _once(self) -> None:
        if self._tell is not None:
            with contextlib.suppress(Exception):
                self._tell(self._look())
