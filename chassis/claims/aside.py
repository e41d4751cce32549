"""Work that this worker cannot do at present: left to others, told, and tried again after a while."""

import time

from chassis.life.health import Health
from contracts.errors import PlatformError

AGAIN_SECONDS = 300.0
"""After so long work that could not be read is tried again."""
PAUSE_SECONDS = 2.0
PAUSE_SECONDS_MAX = 600.0
"""Work that was given back waits for this worker, ever longer, so that what is wrong does not fill the record."""
_NAMED_MAX = 3


class SetAside:
    """The work that is set aside, the latest last.

    A worker of a newer build may take it at once; this one says which it is, and goes on with all other. `noun`: what
    an operator calls a piece of the work.
    """

    def __init__(self, health: Health, *, noun: str, again_seconds: float = AGAIN_SECONDS) -> None:
        self._health = health
        self._noun = noun
        self._finding = f"{noun}s-set-aside"
        self._again_seconds = again_seconds
        self._aside: dict[str, tuple[float, PlatformError]] = {}

    def add(self, work_id: str, error: PlatformError, *, seconds: float | None = None) -> None:
        """Leave it alone for so long."""
        self._aside.pop(work_id, None)
        self._aside[work_id] = (time.monotonic() + (self._again_seconds if seconds is None else seconds), error)
        self._tell()

    def ids(self) -> list[str]:
        """What is to be left alone now."""
        now = time.monotonic()
        kept = {work_id: each for work_id, each in self._aside.items() if each[0] > now}
        if len(kept) < len(self._aside):
            self._aside = kept
            self._tell()
        return list(kept)

    def pause(self, work_id: str, error: PlatformError, *, troubles: int) -> None:
        """Leave alone what is given back, longer each time."""
        self.add(work_id, error, seconds=min(PAUSE_SECONDS * 2.0**troubles, PAUSE_SECONDS_MAX))

    def _tell(self) -> None:
        """Say what is set aside now, by the reason of the latest of it: no other is among what is named for certain."""
        if not self._aside:
            self._health.restore(self._finding)
            return
        some = ", ".join(list(self._aside)[-_NAMED_MAX:])
        _, error = list(self._aside.values())[-1]
        message = f"{len(self._aside)} {self._noun}s are set aside, such as {some}: {error.message}"
        self._health.degrade(self._finding, error.told_as(message))
