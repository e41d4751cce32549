"""Publishing to one JetStream stream in a chain: in order, without gaps, with many messages on their way.

Each message names the one before (`Nats-Expected-Last-Msg-Id`), the first one the stream's last sequence. A
message that is lost on the way, or another publisher, breaks the chain: everything behind it is refused by the
server, and the caller reads the end of the stream again. A message that is there already (it was on its way when
the last publisher died) is acknowledged as a duplicate and counts as published.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamState
from nats.js.errors import NotFoundError

from chassis.outbox.continuity import StreamView, Tail
from contracts.errors import STREAM_FULL, UNAVAILABLE, PlatformError
from contracts.lost_streams import streams_lost
from contracts.subjects import JETSTREAM_API

LOG_HEADER = "Wedsync-Log"
POSITION_HEADER = "Wedsync-Position"
MESSAGE_ID_HEADER = "Nats-Msg-Id"
_LAST_ID_HEADER = "Nats-Expected-Last-Msg-Id"
_LAST_SEQUENCE_HEADER = "Nats-Expected-Last-Sequence"
_STREAM_HEADER = "Nats-Expected-Stream"

ACK_SECONDS = 5.0
API_SECONDS = 3.0
LOOK_SECONDS = 0.1
"""How soon a lost connection is noticed while acknowledgements are waited for."""

_BROKEN_CHAIN = frozenset({10070, 10071, 10164})
_NO_SPACE = frozenset({10002, 10023, 10028, 10047})
_NOT_STORED = 10077
"""The server's error codes: the last message is another one; an account or a disk is full; the store has refused."""


class Message(msgspec.Struct, frozen=True):
    """What is published. `headers` are without those of the chain, which are added."""

    message_id: str
    subject: str
    body: bytes
    headers: dict[str, str]


class _ServerError(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    """What the server answers to a publish: the message's sequence, or an error."""

    seq: int = 0
    error: _ServerError | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


class NotTaken(PlatformError):
    """Why the server does not have a message. `is_chain`: somebody else has published, which `look` shows."""

    def __init__(self, why: str, *, full: bool = False, is_chain: bool = False) -> None:
        code = STREAM_FULL if full else UNAVAILABLE
        super().__init__(code, f"the stream did not take an event: {why}", part="nats")
        self.is_chain = is_chain


def _refusal(error: _ServerError) -> NotTaken:
    # Of the server's own words only these are repeated: others may name files.
    is_full = error.err_code in _NO_SPACE or (
        error.err_code == _NOT_STORED and error.description.startswith("maximum ")
    )
    why = error.description if is_full and error.err_code == _NOT_STORED else f"server error {error.err_code}"
    return NotTaken(why, full=is_full, is_chain=error.err_code in _BROKEN_CHAIN)


class _Answers:
    """The answers to publishes under way. The client library's own `publish_async` never hears of a refusal:
    the error is raised where it should be set, and the publisher waits until its time is up.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = client.new_inbox()
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._subscription: Subscription | None = None

    async def publish(self, message: Message, headers: dict[str, str]) -> "asyncio.Future[int]":
        """Send a message; the future is its sequence in the stream, or `NotTaken`."""
        if self._subscription is None:
            self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._take)
        token = str(next(self._numbers))
        future = self._waiting[token] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda _: self._waiting.pop(token, None))
        await self._client.publish(message.subject, message.body, reply=f"{self._inbox}.{token}", headers=headers)
        return future

    async def _take(self, answer: Msg) -> None:
        future = self._waiting.get(answer.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if (answer.headers or {}).get("Status") is not None:
            future.set_exception(NotTaken("no stream takes this subject"))
            return
        try:
            decoded = _ANSWER.decode(answer.data)
        except msgspec.MsgspecError:
            future.set_exception(NotTaken("the answer cannot be read"))
            return
        if decoded.error is not None:
            future.set_exception(_refusal(decoded.error))
        else:
            future.set_result(decoded.seq)

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            with contextlib.suppress(NatsError):
                await self._subscription.unsubscribe()


def _undecided(on_their_way: "Sequence[asyncio.Future[int]]") -> "list[asyncio.Future[int]]":
    """The answers that are waited for: those in front of the first refusal."""
    decided = (place for place, future in enumerate(on_their_way) if future.done() and future.exception() is not None)
    return [future for future in on_their_way[: next(decided, len(on_their_way))] if not future.done()]


async def stream_view(js: JetStreamContext, stream: str) -> StreamView:
    """A stream, and its last message. Raises STREAM_MISSING or UNAVAILABLE."""
    try:
        state = (await js.stream_info(stream)).state
        tail = await _tail(js, stream, state)
    except NotFoundError as error:
        raise streams_lost("there is no such stream, or its last message is gone", [stream], stream=stream) from error
    except (NatsError, TimeoutError) as error:
        raise PlatformError(UNAVAILABLE, f"nats did not answer: {type(error).__name__}", part="nats") from error
    lost = state.last_seq - state.first_seq + 1 - state.messages if state.messages else 0
    return StreamView(first_sequence=state.first_seq, last_sequence=state.last_seq, lost=lost, tail=tail)


async def _tail(js: JetStreamContext, stream: str, state: StreamState) -> Tail | None:
    if state.messages == 0:
        return None
    raw = await js.get_msg(stream, seq=state.last_seq)
    headers = raw.headers or {}
    position = headers.get(POSITION_HEADER, "")
    return Tail(
        sequence=state.last_seq,
        message_id=headers.get(MESSAGE_ID_HEADER),
        incarnation=headers.get(LOG_HEADER),
        position=int(position) if position.isdecimal() else None,
        body=raw.data or b"",
    )


class ChainedPublisher:
    """The end of one stream, for one publisher. Not for concurrent calls."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._js = client.jetstream(timeout=API_SECONDS, prefix=JETSTREAM_API)
        self._answers = _Answers(client)
        self._last_id: str | None = None
        self._last_sequence = 0

    @property
    def last_sequence(self) -> int:
        """Of the stream's last message, as far as it was seen or told."""
        return self._last_sequence

    async def close(self) -> None:
        """Let go of the connection, which stays open."""
        await self._answers.close()

    async def look(self) -> StreamView:
        """Read the end of the stream, and chain the next message to it. Raises STREAM_MISSING or UNAVAILABLE."""
        view = await stream_view(self._js, self._stream)
        self._last_id, self._last_sequence = None, view.last_sequence
        return view

    async def append(self, messages: Sequence[Message]) -> tuple[int, NotTaken | None]:
        """Publish in order: how many are in the stream for certain, and what stopped the others.

        After a failure `look` comes first.
        """
        on_their_way: list[asyncio.Future[int]] = []
        unsent: NotTaken | None = None
        try:
            for message in messages:
                on_their_way.append(await self._send(message))  # noqa: PERF401  # what was sent counts, also when one fails
        except NatsError as error:
            unsent = NotTaken(type(error).__name__)
        await self._wait(on_their_way)
        failures = [self._verdict(future) for future in on_their_way]
        taken = next((place for place, failure in enumerate(failures) if failure is not None), len(failures))
        return taken, failures[taken] if taken < len(failures) else unsent

    async def _send(self, message: Message) -> "asyncio.Future[int]":
        chain = (
            {_LAST_SEQUENCE_HEADER: str(self._last_sequence)}
            if self._last_id is None
            else {_LAST_ID_HEADER: self._last_id}
        )
        headers = {**message.headers, _STREAM_HEADER: self._stream, MESSAGE_ID_HEADER: message.message_id, **chain}
        future = await self._answers.publish(message, headers)
        self._last_id = message.message_id
        return future

    async def _wait(self, on_their_way: "Sequence[asyncio.Future[int]]") -> None:
        """Wait for the answers up to the first refusal, as long as there is hope.

        For those in front of it too: the refusal of a subject overtakes the answers of a stream that still writes.
        """
        give_up = time.monotonic() + ACK_SECONDS
        while (open_ones := _undecided(on_their_way)) and self._client.is_connected and time.monotonic() < give_up:
            await asyncio.wait(open_ones, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for future in on_their_way:
            future.cancel()

    def _verdict(self, future: "asyncio.Future[int]") -> NotTaken | None:
        """What became of a message: None where it is in the stream, behind the one before."""
        if not future.done() or future.cancelled():
            return NotTaken("no answer in time")
        failure = future.exception()
        if isinstance(failure, NotTaken):
            return failure
        if future.result() != self._last_sequence + 1:
            # A stream that was emptied by hand still remembers the ids for a while (its duplicate window) and
            # acknowledges them as duplicates without keeping them. Only the sequence tells.
            return NotTaken("acknowledged at another place", is_chain=True)
        self._last_sequence += 1
        return None
