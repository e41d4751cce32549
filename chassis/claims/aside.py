"""Work that this worker cannot read: left to others, told, and tried again after a while."""

import time

from chassis.life.health import Health
from contracts.errors import PlatformError

AGAIN_SECONDS = 300.0
"""After so long work that could not be read is tried again."""
_NAMED_MAX = 3


class SetAside:
    """The work that is set aside, newest first seen last.

    A worker of a newer build may take it at once; this one says which it is, and goes on with all other. `noun`: what
    an operator calls a piece of the work.
    """

    def __init__(self, health: Health, *, noun: str, again_seconds: float = AGAIN_SECONDS) -> None:
        self._health = health
        self._noun = noun
        self._finding = f"{noun}s-set-aside"
        self._again_seconds = again_seconds
        self._until: dict[str, float] = {}

    def add(self, work_id: str, error: PlatformError) -> None:
        """Leave it alone for a while."""
        self._until[work_id] = time.monotonic() + self._again_seconds
        self._tell(error)

    def ids(self) -> list[str]:
        """What is to be left alone now."""
        now = time.monotonic()
        self._until = {work_id: until for work_id, until in self._until.items() if until > now}
        if not self._until:
            self._health.restore(self._finding)
        return list(self._until)

    def _tell(self, error: PlatformError) -> None:
        some = ", ".join(list(self._until)[-_NAMED_MAX:])
        message = f"{len(self._until)} {self._noun}s are set aside, such as {some}: {error.message}"
        self._health.degrade(self._finding, PlatformError(error.code, message, hint=error.hint))
