"""What readiness says of a run whose blocking calls give no sign of life.

A disk or a server that never answers raises nothing: only the time that has passed shows it. A run that stands still
degrades its worker, with the run, the step and the place; it is told over when the run goes on or has ended.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from chassis.life.blocking import NoAnswer, call_in_thread
from chassis.life.health import Health
from chassis.life.signs import Signs
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

STANDSTILL_SECONDS = 120.0
"""No byte, no file and no answer for so long is told."""

_HINT = (
    "Look at the disk, the mount or the server of this place, and at the system's log. The {noun} goes on by itself "
    "once it answers{fails}; to have it given back, start the worker anew."
)

_log = logging.getLogger(__name__)

T = TypeVar("T")


class StandsStill(PlatformError):
    """A call has given no sign for too long, and was left behind."""

    def __init__(self, signs: Signs) -> None:
        message = f"{signs.step}: {signs.place} has not answered for {signs.still_seconds:.0f} s"
        super().__init__(signs.code or errors.INTERNAL, message, hint=signs.hint, place=signs.place)


class Standstills:
    """Shows runs that stand still in a worker's readiness. `noun`: what an operator calls one."""

    def __init__(self, health: Health, *, noun: str = "run", after_seconds: float = STANDSTILL_SECONDS) -> None:
        self._health = health
        self._noun = noun
        self._after_seconds = after_seconds
        self._shown: set[str] = set()

    def look(self, run_id: str, signs: Signs, bound_seconds: float = math.inf) -> None:
        """Say that a run stands still, or that it does so no longer.

        `bound_seconds`: when it is let go of; it is told before that, however short that is.
        """
        seconds = signs.still_seconds
        if signs.code is None or seconds < min(self._after_seconds, bound_seconds / 2):
            self.forget(run_id)
            return
        message = f"the {self._noun} {run_id} has made no progress for {seconds:.0f} s: {signs.step}, {signs.place}"
        if run_id not in self._shown:
            extra = {f"{self._noun}_id": run_id, "step": signs.step, "place": signs.place}
            _log.error("a %s stands still", self._noun, extra=extra)
        fails = "" if bound_seconds == math.inf else f", or fails after {bound_seconds:.0f} s without a sign"
        hint = _HINT.format(noun=self._noun, fails=fails)
        self.tell(run_id, PlatformError(signs.code, message, hint=signs.hint or hint))

    def tell(self, run_id: str, error: PlatformError) -> None:
        """Show what keeps a run from going on."""
        self._shown.add(run_id)
        self._health.degrade(self._name(run_id), error)

    def forget(self, run_id: str) -> None:
        """The run goes on, or is no longer here."""
        if run_id in self._shown:
            self._shown.remove(run_id)
            self._health.restore(self._name(run_id))

    async def watched(
        self,
        run_id: str,
        call: Callable[[], T],
        signs: Signs,
        seconds: Mapping[ErrorCode, float],
        *,
        is_cancelled: Callable[[], bool],
        discard: Callable[[T], object] = lambda _result: None,
    ) -> T:
        """Make a call in a thread, show when it stands still, and let go of it after so long without a sign.

        `seconds`: by the code of what is waited for; what is not among them is waited for as long as it takes.
        Raises `StandsStill` then, and as `call_in_thread`.
        """

        def is_overdue() -> bool:
            bound = math.inf if signs.code is None else seconds.get(signs.code, math.inf)
            self.look(run_id, signs, bound)
            return signs.still_seconds > bound

        try:
            return await call_in_thread(call, is_cancelled=is_cancelled, is_overdue=is_overdue, discard=discard)
        except BaseException as error:
            signs.is_left = True
            if not isinstance(error, NoAnswer):
                raise
            raise StandsStill(signs) from error

    def _name(self, run_id: str) -> str:
        return f"{self._noun} {run_id}"
