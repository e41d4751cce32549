"""Publishing to one JetStream stream in a chain: in order, without gaps, with many messages on their way.

Each message names the one before (`Nats-Expected-Last-Msg-Id`), the first one the stream's last sequence. A
message that is lost on the way, or another publisher, breaks the chain: everything behind it is refused by the
server, and the caller reads the end of the stream again. A message that is there already (it was on its way when
the last publisher died) is acknowledged as a duplicate and counts as published.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import PubAck, StreamState
from nats.js.errors import APIError, NotFoundError

from chassis.continuity import StreamView, Tail
from contracts.errors import STREAM_MISSING, UNAVAILABLE, PlatformError

LOG_HEADER = "Wedsync-Log"
POSITION_HEADER = "Wedsync-Position"
MESSAGE_ID_HEADER = "Nats-Msg-Id"
_LAST_ID_HEADER = "Nats-Expected-Last-Msg-Id"
_LAST_SEQUENCE_HEADER = "Nats-Expected-Last-Sequence"

ACK_SECONDS = 5.0
API_SECONDS = 3.0
LOOK_SECONDS = 0.1
"""How soon a lost connection is noticed while acknowledgements are waited for."""


class Message(msgspec.Struct, frozen=True):
    """What is published. `headers` are without those of the chain, which are added."""

    message_id: str
    subject: str
    body: bytes
    headers: dict[str, str]


class ChainedPublisher:
    """The end of one stream, for one publisher. Not for concurrent calls."""

    def __init__(self, client: Client, stream: str, *, window: int) -> None:
        self._client = client
        self._stream = stream
        # A context of our own: the client library makes whoever overruns its bound wait, and hides a
        # cancellation while it does.
        self._js = client.jetstream(timeout=API_SECONDS, publish_async_max_pending=window + 1)
        self._last_id: str | None = None
        self._last_sequence = 0

    async def look(self) -> StreamView:
        """Read the end of the stream, and chain the next message to it. Raises STREAM_MISSING or UNAVAILABLE."""
        try:
            state = (await self._js.stream_info(self._stream)).state
            tail = await self._tail(state)
        except NotFoundError as error:
            raise PlatformError(
                STREAM_MISSING,
                "there is no such stream, or its last message is gone",
                hint="Run wedsync-backup topology apply, then wedsync-backup refill SERVICE.",
                stream=self._stream,
            ) from error
        except (NatsError, TimeoutError) as error:
            raise PlatformError(UNAVAILABLE, f"nats did not answer: {type(error).__name__}", part="nats") from error
        self._last_id, self._last_sequence = None, state.last_seq
        lost = state.last_seq - state.first_seq + 1 - state.messages if state.messages else 0
        return StreamView(first_sequence=state.first_seq, last_sequence=state.last_seq, lost=lost, tail=tail)

    async def _tail(self, state: StreamState) -> Tail | None:
        if state.messages == 0:
            return None
        raw = await self._js.get_msg(self._stream, seq=state.last_seq)
        headers = raw.headers or {}
        position = headers.get(POSITION_HEADER, "")
        return Tail(
            sequence=state.last_seq,
            message_id=headers.get(MESSAGE_ID_HEADER),
            incarnation=headers.get(LOG_HEADER),
            position=int(position) if position.isdecimal() else None,
            body=raw.data or b"",
        )

    async def append(self, messages: Sequence[Message]) -> tuple[int, Exception | None]:
        """Publish in order: how many are in the stream for certain, and what stopped the others.

        After a failure `look` comes first.
        """
        on_their_way: list[asyncio.Future[PubAck]] = []
        unsent: Exception | None = None
        try:
            for message in messages:
                on_their_way.append(await self._send(message))  # noqa: PERF401  # what was sent counts, also when one fails
        except NatsError as error:
            unsent = error
        await self._wait(set(on_their_way))
        failures = [self._verdict(future) for future in on_their_way]
        taken = next((place for place, failure in enumerate(failures) if failure is not None), len(failures))
        return taken, failures[taken] if taken < len(failures) else unsent

    async def _send(self, message: Message) -> "asyncio.Future[PubAck]":
        chain = (
            {_LAST_SEQUENCE_HEADER: str(self._last_sequence)}
            if self._last_id is None
            else {_LAST_ID_HEADER: self._last_id}
        )
        headers = {**message.headers, MESSAGE_ID_HEADER: message.message_id, **chain}
        future = await self._js.publish_async(message.subject, message.body, stream=self._stream, headers=headers)
        self._last_id = message.message_id
        return future

    async def _wait(self, waiting: "set[asyncio.Future[PubAck]]") -> None:
        """Wait for the acknowledgements, as long as there is hope."""
        give_up = time.monotonic() + ACK_SECONDS
        while waiting and self._client.is_connected and time.monotonic() < give_up:
            done, waiting = await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            if any(future.exception() is not None for future in done):
                break
        for future in waiting:
            future.cancel()

    def _verdict(self, future: "asyncio.Future[PubAck]") -> Exception | None:
        """What became of a message: None where it is in the stream, behind the one before."""
        if not future.done() or future.cancelled():
            return TimeoutError()
        failure = future.exception()
        if failure is not None:
            return failure if isinstance(failure, Exception) else RuntimeError()
        sequence = future.result().seq
        if sequence != self._last_sequence + 1:
            # A stream that was emptied by hand still remembers the ids for a while (its duplicate window) and
            # acknowledges them as duplicates without keeping them. Only the sequence tells.
            return OutOfPlace()
        self._last_sequence = sequence
        return None


class OutOfPlace(Exception):
    """The server has acknowledged a message at another place than behind the one before."""


def reason_of(failure: Exception) -> str:
    """A failure in a few words without values: the server's error number, or the class."""
    return f"server error {failure.err_code}" if isinstance(failure, APIError) else type(failure).__name__
