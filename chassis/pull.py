"""Pull subscriptions for FastStream that bind to declared consumers and keep their temper.

FastStream's pull loop asks again at once whatever the answer was. Against a consumer that is not there (a
lost store, before the topology is applied anew) it would spin thousands of times a second, and on a closed
connection it would never give the event loop back. It also creates a consumer that it does not find, and
forgets at its stop what was fetched and not handled, which then waits for the whole acknowledgement time.
So it gets a JetStream context whose pull subscriptions never create, wait between failures, ask nothing
while there is no connection, and give back at once what nobody handled.
"""

import asyncio
import contextlib
import time

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.client import DEFAULT_JS_SUB_PENDING_BYTES_LIMIT, DEFAULT_JS_SUB_PENDING_MSGS_LIMIT
from nats.js.errors import APIError

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_QUICK_SECONDS = 0.01
_RECONNECT_POLL_SECONDS = 0.05


class BoundJetStream(JetStreamContext):
    """A JetStream context that binds to durable consumers and never creates them."""

    def __init__(self, client: Client, *, timeout: float) -> None:
        super().__init__(client, timeout=timeout)
        self.pulls: dict[str, PacedPull] = {}

    async def pull_subscribe(  # type: ignore[override]  # gives FastStream what it uses of a subscription
        self,
        subject: str,  # noqa: ARG002  # the declared consumer has its own filter
        durable: str | None = None,
        stream: str | None = None,
        config: api.ConsumerConfig | None = None,  # noqa: ARG002  # as the filter
        pending_msgs_limit: int = DEFAULT_JS_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_JS_SUB_PENDING_BYTES_LIMIT,
        inbox_prefix: bytes | None = None,
    ) -> "PacedPull":
        """Bind to a durable consumer, whether or not it is there yet."""
        if durable is None:
            raise ValueError("only durable consumers are bound")
        subscription = await self.pull_subscribe_bind(
            durable=durable,
            stream=stream,
            inbox_prefix=inbox_prefix,
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        pull = self.pulls[durable] = PacedPull(self._nc, subscription)
        return pull


class PacedPull:
    """A pull subscription. `trouble` says why the last request was refused; None while the consumer answers."""

    def __init__(self, client: Client, subscription: JetStreamContext.PullSubscription) -> None:
        self._client = client
        self._subscription = subscription
        self._pause = _FIRST_PAUSE_SECONDS
        self._handed: list[Msg] = []
        self.trouble: str | None = None

    async def fetch(self, batch: int = 1, timeout: float | None = 5) -> list[Msg]:  # noqa: ASYNC109  # FastStream's call
        """Wait for messages. Raises `nats.errors.TimeoutError` where there are none, whatever the reason."""
        started = time.monotonic()
        try:
            if not self._client.is_connected:
                await self._until_connected(timeout or 1.0)
                raise nats.errors.TimeoutError
            messages = await self._subscription.fetch(batch, timeout)
        except (APIError, nats.errors.NoRespondersError) as error:
            self.trouble = f"the consumer does not answer: {type(error).__name__}"
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
            raise nats.errors.TimeoutError from error
        except (nats.errors.Error, TimeoutError, OSError) as error:
            # Nothing came within the time, which is the usual case of an idle consumer; a failure that
            # comes quickly must not come thousands of times a second.
            if time.monotonic() - started < _QUICK_SECONDS:
                await asyncio.sleep(self._pause)
            elif self._client.is_connected:
                self._well()
            raise nats.errors.TimeoutError from error
        self._well()
        self._handed = messages
        return messages

    def _well(self) -> None:
        self.trouble = None
        self._pause = _FIRST_PAUSE_SECONDS

    async def _until_connected(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._client.is_connected and time.monotonic() < deadline:  # noqa: ASYNC110  # the client has no event for it
            await asyncio.sleep(_RECONNECT_POLL_SECONDS)

    async def unsubscribe(self) -> None:
        """Stop; what was delivered here and not answered is given back for others to take at once."""
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()
        queue = self._subscription._sub._pending_queue  # noqa: SLF001  # no public way to see what waits there
        waiting = [queue.get_nowait() for _ in range(queue.qsize())]
        for message in (*self._handed, *waiting):
            if not message.is_acked and message.reply.startswith("$JS.ACK."):
                # While the server is away this cannot be said; it notices by itself after the acknowledgement time.
                with contextlib.suppress(nats.errors.Error, OSError):
                    await message.nak()
        self._handed = []
