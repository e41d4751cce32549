"""Reading a service's stream in order from a position, without any state on the server.

Promise: what is returned follows the last applied event directly, in the order of the log. Messages are read by
`DIRECT.GET` in batches, and each read begins with the message that was applied last: where the server has another one
there, or none, the stream was deleted, refilled or begun anew, and the place is looked up again by notification id,
so that nothing is applied twice and nothing is passed over.

A stream may hold several logs one after the other (a record that was restored to an earlier point is published again
under a new incarnation); only the last one is the record, and only it is read.

Subjects: requests to JetStream's `DIRECT.GET.<stream>`, answers on the connection's own inbox. Needs nats-server 2.11.
"""

import asyncio
import contextlib
from collections.abc import Callable

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from chassis.outbox import LOG_HEADER, POSITION_HEADER
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import JETSTREAM_API

BATCH_BYTES_MAX = 8 * 1024 * 1024
ANSWER_SECONDS = 5.0


class Place(msgspec.Struct, frozen=True):
    """Where a reader stands: the log, the notification id of the last applied event, its sequence in the stream.

    `sequence` is only a hint: it changes when a stream is filled anew.
    """

    log: str
    position: int
    sequence: int


START = Place("", 0, 0)


class StoredMessage(msgspec.Struct, frozen=True):
    """One message of a stream, with its place."""

    place: Place
    body: bytes


class LogChanged(Exception):
    """The record is another log than the one that was applied: what was made from it must be made anew."""


class _Query(msgspec.Struct, omit_defaults=True):
    seq: int | None = None
    batch: int | None = None
    max_bytes: int | None = None
    last_by_subj: str | None = None


class _Answer:
    """The messages that answer one question, until `done` says how it ended: a status, or `last` for a single one."""

    def __init__(self, single: bool) -> None:
        self.messages: list[StoredMessage] = []
        self.single = single
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def take(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            place = Place(
                headers.get(LOG_HEADER, ""), int(headers.get(POSITION_HEADER, 0)), int(headers["Nats-Sequence"])
            )
            self.messages.append(StoredMessage(place, message.data))
        if (status is not None or self.single) and not self.done.done():
            self.done.set_result(status or "last")


class StreamReader:
    """Reads one stream. Not for concurrent calls."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self.stream = stream
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._asked = 0
        self._answer: _Answer | None = None
        self._ahead: tuple[Place, asyncio.Task[list[StoredMessage]]] | None = None

    def read_ahead(self, place: Place, limit: int) -> None:
        """Begin to read what follows a place, while the caller still works on what is before it."""
        if self._ahead is None:
            self._ahead = (place, asyncio.create_task(self._read(place, limit)))

    async def after(self, place: Place, limit: int) -> list[StoredMessage]:
        """The messages that follow a place, at most `limit`; empty where there are none yet.

        Raises LogChanged where the record is another log now, STREAM_MISSING where there is no stream, UNAVAILABLE
        where the server does not answer.
        """
        if self._ahead is not None:
            (read_from, reading), self._ahead = self._ahead, None
            if read_from == place:
                return await reading
            await _dropped(reading)
        return await self._read(place, limit)

    async def _read(self, place: Place, limit: int) -> list[StoredMessage]:
        if place.position == 0:
            first = await self._first(lambda message, log: message.place.log == log)
            return [] if first is None else _of_one_log(await self._batch(first, limit))
        found = await self._batch(place.sequence, limit + 1)
        if not found or found[0].place != place:
            first = await self._first(
                lambda message, log: message.place.log == log and message.place.position > place.position, of=place.log
            )
            # The message before the first one is not asked for: it may be gone, and its position is known.
            found = [] if first is None else await self._batch(first, limit)
        else:
            found = found[1:]
        if found and found[0].place.log != place.log:
            raise LogChanged(self.stream)
        return _of_one_log(found)

    async def end(self) -> int:
        """The position of the last event, 0 where there is none."""
        messages = await self._ask(_Query(last_by_subj=">"), single=True)
        return messages[0].place.position if messages else 0

    async def everything(self) -> list[StoredMessage]:
        """All messages of a small stream (the last progress of each run), in order."""
        messages: list[StoredMessage] = []
        while found := await self._batch(messages[-1].place.sequence + 1 if messages else 1, 1000, contiguous=False):
            messages += found
        return messages

    async def close(self) -> None:
        """Give the inbox back."""
        if self._ahead is not None:
            await _dropped(self._ahead[1])
            self._ahead = None
        if self._subscription is not None:
            with contextlib.suppress(NatsError):  # a connection that is gone has let go of it already
                await self._subscription.unsubscribe()
        self._subscription = None

    async def _first(self, is_behind: Callable[[StoredMessage, str], bool], *, of: str | None = None) -> int | None:
        """The sequence of the first message for which `is_behind` holds, by halving; None where there is none.

        It is given the log of the last message, and must hold for no message before one for which it does not. Raises
        LogChanged where that log is not `of`.
        """
        messages = await self._ask(_Query(last_by_subj=">"), single=True)
        if not messages:
            return None
        last = messages[0]
        log = last.place.log
        if of is not None and log != of:
            raise LogChanged(self.stream)
        if not is_behind(last, log):
            return None
        low, high = 1, last.place.sequence
        while low < high:
            middle = (low + high) // 2
            found = await self._ask(_Query(seq=middle, batch=1))
            if not found or found[0].place.sequence > last.place.sequence:
                return None  # the stream changes at this moment; the next call looks again
            if is_behind(found[0], log):
                high = middle
            else:
                low = found[0].place.sequence + 1
        return low

    async def _batch(self, sequence: int, limit: int, *, contiguous: bool = True) -> list[StoredMessage]:
        messages = await self._ask(_Query(seq=max(sequence, 1), batch=limit, max_bytes=BATCH_BYTES_MAX))
        for index in range(1, len(messages) if contiguous else 0):
            if messages[index].place.sequence != messages[index - 1].place.sequence + 1:
                # A message was lost on its way: what came before it is good, the rest is read again.
                return messages[:index]
        return messages

    async def _ask(self, query: _Query, *, single: bool = False) -> list[StoredMessage]:
        try:
            if self._subscription is None:
                self._inbox = self._client.new_inbox()
                self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._take)
            self._asked += 1
            answer = self._answer = _Answer(single)
            await self._client.publish(
                f"{JETSTREAM_API}.DIRECT.GET.{self.stream}",
                msgspec.json.encode(query),
                reply=f"{self._inbox}.{self._asked}",
            )
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await answer.done
        except (TimeoutError, NatsError, OSError) as error:
            raise PlatformError(errors.UNAVAILABLE, "the stream does not answer", stream=self.stream) from error
        if status in ("last", "204", "404"):
            return answer.messages
        if status == "503":
            raise PlatformError(errors.STREAM_MISSING, "there is no such stream", stream=self.stream)
        raise PlatformError(errors.UNAVAILABLE, f"the stream answered with status {status}", stream=self.stream)

    async def _take(self, message: Msg) -> None:
        # What answers a question that was given up on is late: it must not be taken for the present answer.
        if self._answer is not None and message.subject == f"{self._inbox}.{self._asked}":
            self._answer.take(message)


def _of_one_log(messages: list[StoredMessage]) -> list[StoredMessage]:
    return [message for message in messages if message.place.log == messages[0].place.log]


async def _dropped(reading: asyncio.Task[list[StoredMessage]]) -> None:
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
