"""Whose turn it is to be sent to: no receiver that is slow or dead keeps others from theirs. In one process.

Promise: of a channel one notification is under way at a time, of an organisation `OF_ORGANISATION`; after a failure the
others of its channel wait, for a while that doubles with each, before one of them tries it again.
"""

import time
from collections import Counter

OF_ORGANISATION = 2
BUSY_SECONDS = 2.0
LONGEST_SECONDS = 60.0
SPREAD_SECONDS = 0.05
"""Those that wait for one channel come back one after another."""
REMEMBERED = 10_000
"""Channels that fail, at most: beyond it the oldest is forgotten, and tried."""


class Gates:
    """One for each channel."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._of_organisation: Counter[str] = Counter()
        self._failing: dict[str, tuple[int, float]] = {}
        self._behind: Counter[str] = Counter()

    def enter(self, channel: str, organisation: str, *, even_failing: bool = False) -> float | None:
        """None: go on, and `leave` afterwards. Else after how many seconds to come back."""
        now = time.monotonic()
        _, until = self._failing.get(channel, (0, now))
        is_busy = channel in self._busy or self._of_organisation[organisation] >= OF_ORGANISATION
        if is_busy or (until > now and not even_failing):
            self._behind[channel] += 1
            return max(until - now, BUSY_SECONDS if is_busy else 0.0) + self._behind[channel] * SPREAD_SECONDS
        self._busy.add(channel)
        self._of_organisation[organisation] += 1
        return None

    def leave(self, channel: str, organisation: str, *, failed: bool | None) -> None:
        """An attempt is over. `failed`: None where it was put off before anything was known of the receiver."""
        self._busy.discard(channel)
        self._behind.pop(channel, None)
        self._of_organisation[organisation] -= 1
        if not self._of_organisation[organisation]:
            del self._of_organisation[organisation]
        if failed is None:
            return
        if not failed:
            self._failing.pop(channel, None)
            return
        failures = self._failing.pop(channel, (0, 0.0))[0] + 1
        self._failing[channel] = (failures, time.monotonic() + min(2.0 ** min(failures, 16), LONGEST_SECONDS))
        if len(self._failing) > REMEMBERED:
            del self._failing[next(iter(self._failing))]
