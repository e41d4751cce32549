"""How much of what all organisations share one of them may take at a time.

Promise: whoever asks much takes turns with his own organisation alone; there are connections left for the others. Who
does not get his turn in time is told to come again, by a code that is his organisation's and not the platform's.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from chassis.postgres.circuit import patience
from contracts import errors
from contracts.errors import PlatformError

READINGS = 3
"""How many connections one organisation's reads may have at once: of eight, so that two of them leave some, too."""
RETRY_SECONDS = 1


class Shares:
    """`each`: how many an organisation may have at once."""

    def __init__(self, each: int = READINGS) -> None:
        self._each = each
        # An organisation that nobody asks for is forgotten: whoever has or waits for a turn holds its entry.
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, organisation: str) -> AsyncIterator[None]:
        """One turn of an organisation. Raises TOO_MANY_REQUESTS where it does not come in the request's time."""
        turns = self._turns.get(organisation)
        if turns is None:
            turns = self._turns[organisation] = asyncio.Semaphore(self._each)
        try:
            async with asyncio.timeout(patience()):
                await turns.acquire()
        except TimeoutError:
            raise PlatformError(
                errors.TOO_MANY_REQUESTS,
                "the organisation's requests at this moment take longer than another one can wait",
                hint="Wait for as long as Retry-After says, then send fewer requests at once, or ask for less in each.",
                limit=self._each,
                retry_after_seconds=RETRY_SECONDS,
            ) from None
        try:
            yield
        finally:
            turns.release()
