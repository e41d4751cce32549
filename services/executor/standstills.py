"""What readiness says of a run whose blocking calls give no sign of life.

A disk or a server that never answers raises nothing: only the time that has passed shows it. A run that stands still
degrades its worker, with the run, the step and the place; it is told over when the run goes on or has ended.
"""

import logging

from chassis.life.health import Health
from chassis.life.signs import Signs
from contracts import errors
from contracts.errors import PlatformError

STANDSTILL_SECONDS = 120.0
"""No byte, no file and no answer for so long is told."""

_HINT = (
    "Look at the disk, the mount or the server of this place, and at the system's log. The run goes on by itself once "
    "it answers, or fails after WEDSYNC_RUN_STANDSTILL_SECONDS; to have it given back, start the worker anew."
)

_log = logging.getLogger(__name__)


class StandsStill(PlatformError):
    """A call has given no sign for too long, and was left behind."""

    def __init__(self, signs: Signs) -> None:
        message = f"{signs.step}: {signs.place} has not answered for {signs.still_seconds:.0f} s"
        super().__init__(signs.code or errors.INTERNAL, message)


class Standstills:
    """Shows runs that stand still in a worker's readiness."""

    def __init__(self, health: Health, *, after_seconds: float = STANDSTILL_SECONDS) -> None:
        self._health = health
        self._after_seconds = after_seconds
        self._shown: set[str] = set()

    def look(self, run_id: str, signs: Signs) -> None:
        """Say that a run stands still, or that it does so no longer."""
        seconds = signs.still_seconds
        if signs.code is None or seconds < self._after_seconds:
            self.forget(run_id)
            return
        message = f"the run {run_id} has made no progress for {seconds:.0f} s: {signs.step}, {signs.place}"
        if run_id not in self._shown:
            _log.error("a run stands still", extra={"run_id": run_id, "step": signs.step, "place": signs.place})
        self.tell(run_id, PlatformError(signs.code, message, hint=_HINT))

    def tell(self, run_id: str, error: PlatformError) -> None:
        """Show what keeps a run from going on."""
        self._shown.add(run_id)
        self._health.degrade(_name(run_id), error)

    def forget(self, run_id: str) -> None:
        """The run goes on, or is no longer here."""
        if run_id in self._shown:
            self._shown.remove(run_id)
            self._health.restore(_name(run_id))


def _name(run_id: str) -> str:
    return f"run {run_id}"
