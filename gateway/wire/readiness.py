"""Whether the gateway can work, for whoever asks without a token: looked at once a second at most."""

import asyncio
import time
from collections.abc import Callable

from chassis.life.health import Health

FRESH_SECONDS = 1.0


class Readiness:
    """Answers `ready`, `degraded` or `not-ready`; the reasons are told on the internal port alone."""

    def __init__(self, health: Health, clock: Callable[[], float] = time.monotonic) -> None:
        self._health = health
        self._clock = clock
        self._looking: asyncio.Task[str] | None = None
        self._looked_at = float("-inf")

    async def status(self) -> str:
        """The worst status of all checks, at most a second old."""
        if self._looking is None or self._clock() - self._looked_at >= FRESH_SECONDS:
            self._looked_at = self._clock()
            self._looking = asyncio.create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> str:
        return (await self._health.report()).status
