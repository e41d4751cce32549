"""Work that this worker cannot do at present: left to others, told, and tried again soon or once its cause is over."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from chassis.clock import SystemClock
from chassis.life.health import Health
from contracts.errors import PlatformError

PAUSE_SECONDS = 2.0
PAUSE_SECONDS_MAX = 60.0
"""Work that was given back waits for this worker, longer each time, so that what is wrong does not fill the record;
never for so long that whoever has mended it by hand would take the work for stuck."""
_NAMED_MAX = 3


@dataclass(frozen=True)
class _Aside:
    """Work as its last attempt left it: until when by the steady clock, why, and at what time of day."""

    until: float
    seconds: float
    error: PlatformError
    tried_at: datetime

    @property
    def next_attempt_at(self) -> datetime:
        """By the clock of this machine, for people."""
        return self.tried_at + timedelta(seconds=self.seconds)


class SetAside:
    """The work that is set aside, the latest last.

    A worker of a newer build may take it at once; this one says which it is, and goes on with all other. What was set
    aside for a cause is due at once when a check of the readiness that had that cause turns well. `noun`: what an
    operator calls a piece of the work.
    """

    def __init__(self, health: Health, *, noun: str) -> None:
        self._health = health
        self._noun = noun
        self._finding = f"{noun}s-set-aside"
        self._aside: dict[str, _Aside] = {}
        health.when_well(self._end_pauses)

    def add(self, work_id: str, error: PlatformError, *, seconds: float) -> datetime:
        """Leave it alone for so long; when it is tried again."""
        self._aside.pop(work_id, None)
        aside = self._aside[work_id] = _Aside(time.monotonic() + seconds, seconds, error, SystemClock().now())
        self._tell()
        return aside.next_attempt_at

    def ids(self) -> list[str]:
        """What is to be left alone now."""
        now = time.monotonic()
        self._keep({work_id: each for work_id, each in self._aside.items() if each.until > now})
        return list(self._aside)

    def pause(self, work_id: str, error: PlatformError, *, troubles: int) -> datetime:
        """Leave alone what is given back, longer each time; when it is tried again, at the latest."""
        return self.add(work_id, error, seconds=min(PAUSE_SECONDS * 2.0**troubles, PAUSE_SECONDS_MAX))

    def _end_pauses(self, code: str) -> None:
        self._keep({work_id: each for work_id, each in self._aside.items() if each.error.code.code != code})

    def _keep(self, kept: dict[str, _Aside]) -> None:
        if len(kept) < len(self._aside):
            self._aside = kept
            self._tell()

    def _tell(self) -> None:
        """Say what is set aside now, by the reason of the latest of it: no other is among what is named for certain.

        In words of that attempt: what was wrong then may be mended since.
        """
        if not self._aside:
            self._health.restore(self._finding)
            return
        some = ", ".join(list(self._aside)[-_NAMED_MAX:])
        last = list(self._aside.values())[-1]
        message = (
            f"{len(self._aside)} {self._noun}s are set aside, such as {some}. "
            f"Its attempt at {_time(last.tried_at)} met: {last.error.message}. "
            f"The next one is at {_time(last.next_attempt_at)}"
        )
        self._health.degrade(self._finding, last.error.told_as(message))


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
