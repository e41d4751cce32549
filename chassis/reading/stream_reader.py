"""Reading a service's stream in order from a position, without any state on the server.

Promise: what is returned follows the last applied event directly, in the order of the log, and nothing is passed over:
each message of a relay names the one before it, or where in the stream it began. Messages are read by `DIRECT.GET` in
batches, and each read begins with the message that was applied last: where the server has another one there, or none,
the stream was deleted, refilled or begun anew, and the place is looked up again by notification id.

Three things are told apart. A message that was lost *on its way* is asked for again. One that the *stream* has lost
stays lost: after `HOLE_SECONDS` that is an error which names it. A message that *no relay* has published is a stray:
it is handed out as such and stands in nobody's way.

Of the event that was applied last its digest is kept. Where the stream has another one under the same name, the record
is not what it was, though it goes on where it ended: nothing more is read, and that is told.

A stream may hold several logs one after the other (a record that was restored to an earlier point is published again
under a new incarnation). Which of them is the record is told by whoever reads, never by the stream: only that one is
read, in whatever order the logs lie there. What another log has put behind it is passed over like a stray, and a stream
that *ends* in another log is trouble, which is told beside what was found.

Subjects: requests to JetStream's `DIRECT.GET.<stream>`, answers on the connection's own inbox. Needs nats-server 2.11.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from chassis.bus.nats_client import QuickClient, RawHeaders
from chassis.reading.stored import START, Place, StoredMessage, stored_message
from chassis.reading.walk import Walk
from contracts import errors
from contracts.errors import PlatformError
from contracts.lost_streams import streams_lost
from contracts.streams import owner_of, stream_of
from contracts.subjects import JETSTREAM_API, SERVICES

BATCH_BYTES_MAX = 8 * 1024 * 1024
ANSWER_SECONDS = 5.0
HOLE_SECONDS = 2.0
"""For how long the stream must say the same before an event counts as lost."""
_LOOKED_THROUGH = 64
_SEARCHED = 2_000
"""So many messages are read at once where a place must be searched for."""
_WHICH_IS_THE_RECORD = (
    "If the record was restored or begun anew, run wedsync-backup refill SERVICE --new-incarnation. If not, somebody "
    "publishes under the service's key: find out who, then run the same. What was known answers until then."
)


class Found(msgspec.Struct, frozen=True):
    """What follows a place: events in order, strays among them, where one stands then, and whether there is more.

    `trouble`: why nothing more can follow there until somebody does something, or None.
    """

    events: Sequence[StoredMessage]
    strays: Sequence[StoredMessage]
    place: Place
    has_more: bool = False
    trouble: PlatformError | None = None


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

    def take(self, headers: RawHeaders, body: bytes) -> None:
        status = headers.status
        if status is None:
            self.messages.append(stored_message(headers, body))
        if (status is not None or self.single) and not self.done.done():
            self.done.set_result(status or "last")


class StreamReader:
    """Reads one stream. Not for concurrent calls."""

    def __init__(self, client: QuickClient, stream: str) -> None:
        self._client = client
        self.stream = stream
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._asked = 0
        self._awaited = b""
        self._answer: _Answer | None = None
        self._ahead: tuple[Place, asyncio.Task[Found]] | None = None
        self._looked_through: Walk | None = None
        self._hole: tuple[int, float] | None = None

    def read_ahead(self, place: Place, limit: int) -> None:
        """Begin to read what follows a place, while the caller still works on what is before it."""
        if self._ahead is None and place.position:
            self._ahead = (place, asyncio.create_task(self._read(place, limit)))

    async def after(self, place: Place, limit: int, *, log: str = "") -> Found:
        """The messages that follow a place, at most `limit`; none where there are none yet.

        `log`: the one to read from its beginning, where nothing was applied yet; the last of the stream where it is not
        known. Raises STREAM_MISSING where there is no stream, or where it has lost what follows; UNAVAILABLE where the
        server does not answer.
        """
        if self._ahead is not None:
            (read_from, reading), self._ahead = self._ahead, None
            if read_from == place:
                return await reading
            await _dropped(reading)
        return await self._read(place, limit, log)

    async def _read(self, place: Place, limit: int, log: str = "") -> Found:
        if place.position == 0:
            return await self._read_from_the_beginning(limit, log)
        known = self._looked_through
        if known is not None and known.last is not None and known.place == place:
            # Where nothing but strays was behind it, they are not read again.
            messages = await self._batch(known.last.sequence, limit + 1)
            if messages and messages[0] == known.last:
                return await self._found(known.further().over(messages[1:]), has_more=len(messages) > limit)
        messages = await self._batch(place.sequence, limit + 1)
        if messages and messages[0].sequence == place.sequence and _is_last_applied(messages[0], place):
            walk = Walk(place, place.sequence + 1, is_joined=True)
            walk.last = messages[0]
            return await self._found(walk.over(messages[1:]), has_more=len(messages) > limit)
        return await self._search(place, limit)  # The stream was filled anew, or has lost it.

    async def _read_from_the_beginning(self, limit: int, log: str) -> Found:
        if not log:
            last = await self._last()
            if last is None:
                return Found((), (), START)
            log = last.log
        return await self._search(Place(log, 0, 0), limit)

    async def _search(self, place: Place, limit: int) -> Found:
        """What follows a place that may be anywhere in the stream: from its first message on.

        Not by halving: a log may lie there in several pieces, with others between them.
        """
        walk, size = Walk(place, 1), max(limit, _SEARCHED)
        known = self._looked_through
        if known is not None and known.last is not None and known.place == place:
            first = await self._batch(known.last.sequence, 1)
            walk = known.further() if first and first[0] == known.last else walk
        while True:
            messages = await self._batch(walk.following, size)
            walk.over(messages)
            if walk.events or walk.strays or walk.doubt is not None or walk.is_contradicted or not messages:
                return await self._found(walk, has_more=bool(messages))
            walk = walk.further()

    async def _found(self, walk: Walk, *, has_more: bool) -> Found:
        """What a walk has found, once it is known to be all that there is. Raises as `after`."""
        self._looked_through = walk
        place = walk.place if walk.place.position else START
        if walk.is_contradicted and not walk.events:
            raise contradicted(self.stream, walk.place)
        if walk.doubt is not None and not walk.events:
            await self._judge(walk, walk.doubt)
        else:
            self._hole = None
        is_cut_off = walk.doubt is not None or walk.is_contradicted
        has_more = bool(walk.events) if is_cut_off else has_more
        if not walk.has_met_place and walk.doubt is None and place.position:
            raise streams_lost(
                f"{self.stream} ends before what was applied of it (position {place.position})",
                [self.stream],
                stream=self.stream,
                position=place.position,
            )
        is_over = walk.is_behind_another and not has_more and walk.doubt is None
        return Found(walk.events, walk.strays, place, has_more, self._of_another_log(walk) if is_over else None)

    def _of_another_log(self, walk: Walk) -> PlatformError:
        return PlatformError(
            errors.STREAM_OF_ANOTHER_LOG,
            f"{self.stream} goes on with another log behind position {walk.place.position}, and nobody has said that "
            "this is the record now",
            hint=_WHICH_IS_THE_RECORD,
            service=owner_of(self.stream),
            stream=self.stream,
            position=walk.place.position,
        )

    async def _judge(self, walk: Walk, doubt: StoredMessage) -> None:
        """Raise where the stream itself lacks what comes before a message; else it was lost on its way to us."""
        first = await self._batch(walk.following, 1)
        if not first or first[0].sequence < doubt.sequence:
            return
        if self._hole is None or self._hole[0] != doubt.sequence:
            self._hole = (doubt.sequence, time.monotonic())
        if time.monotonic() - self._hole[1] < HOLE_SECONDS:
            return
        before = doubt.before or ""
        raise PlatformError(
            errors.STREAM_MISSING,
            f"{self.stream} has lost events: position {before.rpartition(':')[2] or 'unknown'} and perhaps more, at "
            f"sequence {walk.following} to {doubt.sequence - 1}, behind position {walk.place.position}",
            hint="Run wedsync-backup refill SERVICE --new-incarnation: the record is published again behind what is "
            "there, and the read models are made anew from it.",
            service=owner_of(self.stream),
            stream=self.stream,
            position=walk.place.position,
        )

    async def end(self) -> Place:
        """The place of the last event, START where there is none."""
        last = await self._last()
        return START if last is None else last.place

    async def everything(self) -> AsyncIterator[StoredMessage]:
        """All messages of a small stream (the last progress of each run), in order; a few are held at a time."""
        following = 1
        while found := await self._batch(following, 500):
            for message in found:
                yield message
            following = found[-1].sequence + 1

    async def close(self) -> None:
        """Give the inbox back."""
        if self._ahead is not None:
            await _dropped(self._ahead[1])
            self._ahead = None
        if self._subscription is not None:
            with contextlib.suppress(NatsError):  # a connection that is gone has let go of it already
                await self._subscription.unsubscribe()
        self._subscription = None

    async def _last(self) -> StoredMessage | None:
        """The last message that a relay has published, None where there is none."""
        messages = await self._ask(_Query(last_by_subj=">"), single=True)
        end = messages[0].sequence if messages else 0
        while (named := _last_named(messages)) is None and end > 1:
            start = max(end - _LOOKED_THROUGH, 1)
            messages = [message for message in await self._batch(start, _LOOKED_THROUGH) if message.sequence < end]
            end = start
        return named

    async def _batch(self, sequence: int, limit: int) -> list[StoredMessage]:
        return await self._ask(_Query(seq=max(sequence, 1), batch=limit, max_bytes=BATCH_BYTES_MAX))

    async def _ask(self, query: _Query, *, single: bool = False) -> list[StoredMessage]:
        try:
            if self._subscription is None:
                self._inbox = self._client.new_inbox()
                self._subscription = await self._client.subscribe_raw(f"{self._inbox}.*", self._take)
            self._asked += 1
            reply = f"{self._inbox}.{self._asked}"
            answer, self._awaited = _Answer(single), reply.encode()
            self._answer = answer
            await self._client.publish(
                f"{JETSTREAM_API}.DIRECT.GET.{self.stream}",
                msgspec.json.encode(query),
                reply=reply,
            )
            async with asyncio.timeout(ANSWER_SECONDS):
                status = await answer.done
        except (TimeoutError, NatsError, OSError) as error:
            raise PlatformError(errors.UNAVAILABLE, "the stream does not answer", stream=self.stream) from error
        if status in ("last", "204", "404"):
            return answer.messages
        if status == "503":
            raise streams_lost(f"there is no stream {self.stream}", [self.stream], stream=self.stream)
        raise PlatformError(errors.UNAVAILABLE, f"the stream answered with status {status}", stream=self.stream)

    def _take(self, subject: bytes, headers: RawHeaders, body: bytes) -> None:
        # What answers a question that was given up on is late: it must not be taken for the present answer.
        if self._answer is not None and subject == self._awaited:
            self._answer.take(headers, body)


@contextlib.asynccontextmanager
async def every_stream(client: QuickClient) -> AsyncIterator[Mapping[str, StreamReader]]:
    """Readers of the streams of all services, by the stream's owner; their inboxes are given back at the end."""
    readers = {owner: StreamReader(client, stream_of(owner)) for owner in SERVICES}
    try:
        yield readers
    finally:
        for reader in readers.values():
            await reader.close()


def _last_named(messages: Sequence[StoredMessage]) -> StoredMessage | None:
    return next((message for message in reversed(messages) if message.log), None)


def contradicted(stream: str, place: Place) -> PlatformError:
    """What was applied is another event than the stream has now under the same name: one of both is no record."""
    return PlatformError(
        errors.STREAM_OF_ANOTHER_LOG,
        f"{stream} has another event at position {place.position} than the one that was applied, in a log of the same "
        "name",
        hint=_WHICH_IS_THE_RECORD,
        service=owner_of(stream),
        stream=stream,
        position=place.position,
    )


def _is_last_applied(message: StoredMessage, place: Place) -> bool:
    return place.is_at(message.place) and not message.place.differs_from(place)


async def _dropped(reading: "asyncio.Task[Found]") -> None:
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
