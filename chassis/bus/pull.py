"""Pull subscriptions for FastStream that bind to declared consumers and keep their temper.

FastStream's pull loop asks again at once whatever the answer was. Against a consumer that is not there (a
lost store, before the topology is applied anew) it would spin thousands of times a second, and on a closed
connection it would never give the event loop back. It fetches what it has no hands for, which then runs out
of acknowledgement time in a queue. It creates a consumer that it does not find, and forgets at its stop what
was fetched and not handled. So it gets a JetStream context whose pull subscriptions never create, ask only
when there is a free slot, wait between failures, ask nothing while there is no connection, and give
back at once what nobody handled. What waits behind a message is asked for with one request for all free slots: each by
itself would wait for a round trip of its own, one after another.
"""

import asyncio
import contextlib
import json
import logging
import time

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.client import DEFAULT_JS_SUB_PENDING_BYTES_LIMIT, DEFAULT_JS_SUB_PENDING_MSGS_LIMIT
from nats.js.errors import APIError

from chassis.life.tasks import until_set
from chassis.telemetry.logging import describe
from contracts.subjects import JETSTREAM_API

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
_QUICK_SECONDS = 0.01
_RECONNECT_POLL_SECONDS = 0.05
_SILENT_SECONDS = 30.0
_LATE_SECONDS = 1.0
_FURTHER_SECONDS = 0.5
_OVER = (api.StatusCode.NO_MESSAGES, api.StatusCode.REQUEST_TIMEOUT, api.StatusCode.CONFLICT)
"""What ends a request that nothing is wrong with: nothing came, or its consumer was changed."""

_log = logging.getLogger(__name__)


class BoundJetStream(JetStreamContext):
    """A JetStream context that binds to durable consumers and never creates them."""

    def __init__(self, client: Client, *, timeout: float) -> None:
        super().__init__(client, timeout=timeout, prefix=JETSTREAM_API)
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

    def ask_again(self) -> None:
        """Have every open request made anew: a server to which the connection was lost knows of none."""
        for pull in self.pulls.values():
            pull.ask_again()


class PacedPull:
    """A pull subscription with a number of slots: a fetched message takes one until `done` was called for it.

    `trouble` says why the last request was refused; None while the consumer answers. Whatever a request ends with, the
    caller hears of a timeout: FastStream's loop would end in silence by anything that it does not expect.
    """

    def __init__(self, client: Client, subscription: JetStreamContext.PullSubscription) -> None:
        self._client = client
        self._subscription = subscription
        self._pause = _FIRST_PAUSE_SECONDS
        self._taken: dict[int, Msg] = {}
        self._freed = asyncio.Event()
        self._is_closed = False
        self._asked_at = time.monotonic()
        self._slots = 1
        self.trouble: str | None = None

    def found(self) -> str | None:
        """What keeps messages from coming, or None."""
        if self.trouble is None and len(self._taken) < self._slots and not self._is_closed:
            silent = time.monotonic() - self._asked_at
            return f"nobody has asked it for {silent:.0f} s" if silent > _SILENT_SECONDS else None
        return self.trouble

    async def fetch(self, batch: int = 1, timeout: float | None = 5) -> list[Msg]:  # noqa: ASYNC109  # FastStream's call
        """Wait for messages. Raises `nats.errors.TimeoutError` where there are none, whatever the reason.

        `batch` is the number of slots in all.
        """
        started = self._asked_at = time.monotonic()
        self._slots = batch
        seconds = timeout or _LONGEST_PAUSE_SECONDS
        is_free = await self._slot_is_free(batch, seconds)
        if self._is_closed:
            await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
        if not is_free or self._is_closed:
            raise nats.errors.TimeoutError
        try:
            if not self._client.is_connected:
                await self._until_connected(seconds)
                raise nats.errors.TimeoutError
            message = await self._asked(seconds)
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
        except Exception as error:
            self.trouble = f"the request broke off: {describe(error)}"
            _log.exception("a request for messages broke off")
            await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
            raise nats.errors.TimeoutError from error
        self._well()
        self._taken[id(message)] = message
        further = await self._further(min(message.metadata.num_pending, batch - len(self._taken)))
        self._taken |= {id(each): each for each in further}
        return [message, *further]

    async def _asked(self, seconds: float) -> Msg:
        """The answer to a request of one message: of several the server may hold one back until the next comes.

        Not by the library's fetch, which goes on waiting when the server has ended the request: that its time is over
        is the server's to say, so that there is never a second request while one is open there.
        """
        subscription = self._subscription._sub  # noqa: SLF001  # there is no public way to wait for an answer alone
        while subscription.pending_msgs:
            # What came between two requests; a server's word among it was of an earlier one.
            message = await subscription.next_msg(seconds)
            if JetStreamContext.is_status_msg(message) is None:
                return message
        await self._request({"batch": 1, "expires": int(seconds * 1e9)})
        message = await subscription.next_msg(seconds + _LATE_SECONDS)
        if (status := JetStreamContext.is_status_msg(message)) is None:
            return message
        if status in _OVER:
            raise nats.errors.TimeoutError
        raise APIError.from_msg(message)

    async def _further(self, count: int) -> list[Msg]:
        """What is there of so many messages that are known to wait: the server answers at once, and holds none back."""
        found: list[Msg] = []
        if count <= 0:
            return found
        # What comes after the time waits for the next request, as after a lost connection.
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await self._request({"batch": count, "no_wait": True})
            while len(found) < count:
                message = await self._subscription._sub.next_msg(_FURTHER_SECONDS)  # noqa: SLF001  # as in `_asked`
                if JetStreamContext.is_status_msg(message) is not None:
                    break  # Somebody else has taken the others.
                found.append(message)
        return found

    async def _request(self, request: dict[str, int | bool]) -> None:
        subscription = self._subscription
        await self._client.publish(subscription._nms, json.dumps(request).encode(), subscription._deliver)  # noqa: SLF001  # there is no public way to ask without waiting

    def ask_again(self) -> None:
        """Give up the open request, if there is one, and make another."""
        # As if the server had said that the request's time is over; without an open one it is passed over.
        over = Msg(self._client, headers={api.Header.STATUS: api.StatusCode.REQUEST_TIMEOUT})
        with contextlib.suppress(asyncio.QueueFull):
            self._subscription._sub._pending_queue.put_nowait(over)  # noqa: SLF001  # as in `unsubscribe`

    def done(self, message: Msg) -> None:
        """A message needs its slot no longer."""
        self._taken.pop(id(message), None)
        self._freed.set()

    async def _slot_is_free(self, slots: int, seconds: float) -> bool:
        """Whether one of so many slots is free; waits a while where none is."""
        if len(self._taken) >= slots:
            self._freed.clear()
            await until_set(self._freed, seconds)
        return len(self._taken) < slots

    def _well(self) -> None:
        self.trouble = None
        self._pause = _FIRST_PAUSE_SECONDS

    async def _until_connected(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._client.is_connected and time.monotonic() < deadline:  # noqa: ASYNC110  # nats-py has no event
            await asyncio.sleep(_RECONNECT_POLL_SECONDS)

    async def close(self) -> None:
        """Be given no more, while what was fetched is still worked on: what is given back now shall go to others."""
        if not self._is_closed:
            self._is_closed = True
            with contextlib.suppress(nats.errors.Error, OSError):
                await self._subscription.unsubscribe()

    async def unsubscribe(self) -> None:
        """Stop; what was delivered here and not answered is given back for others to take at once."""
        await self.close()
        queue = self._subscription._sub._pending_queue  # noqa: SLF001  # no public way to see what waits there
        waiting = [queue.get_nowait() for _ in range(queue.qsize())]
        for message in (*self._taken.values(), *waiting):
            if not message.is_acked and message.reply.startswith("$JS.ACK."):
                # While the server is away this cannot be said; it notices by itself after the acknowledgement time.
                with contextlib.suppress(nats.errors.Error, OSError):
                    await message.nak()
        self._taken.clear()
