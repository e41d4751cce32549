"""The NATS client, which goes on to reconnect whatever a try has ended with.

nats-py tries again after the errors that it foresees. On uvloop a write to a connection that was reset raises
RuntimeError, which is none of them: its one task that reconnects would die, and with it every later try.
"""

import asyncio

import nats.errors
from nats.aio.client import Client

_PAUSE_SECONDS = 0.25
_FORESEEN = (OSError, nats.errors.Error, TimeoutError)


class LastingClient(Client):
    """nats-py's client."""

    async def _process_connect_init(self) -> None:
        # Also the first connection is tried anew after an error of its kind alone.
        try:
            await super()._process_connect_init()
        except _FORESEEN:
            raise
        except Exception as error:
            raise ConnectionAbortedError("the server was lost while it was greeted") from error

    async def _attempt_reconnect(self) -> None:
        while not await self._try_to_reconnect():  # noqa: ASYNC110  # it is a pause between tries
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _try_to_reconnect(self) -> bool:
        """Whether there is nothing more to be done here."""
        try:
            await super()._attempt_reconnect()
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody else would try again
            is_left = bool(self.is_closed) or self._reconnection_task is not asyncio.current_task()
            if not is_left:
                self._status = Client.RECONNECTING
                self._ps.reset()
                await self._error_cb(error)
            return is_left
        return True
