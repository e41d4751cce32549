"""A worker's answers to what is asked of it at once: what lies in recovery points.

Promise: every question gets an answer within its time, or the reason why there is none. At most `AT_ONCE` looks are
made at a time, `OF_ONE` of an organisation: others wait their turn, `WAITING_OF_ONE` of an organisation, for as long
as their question's time goes. A look that a tier holds counts until it ends, so that a disk that hangs costs its
organisation's share and no other's. Looks run beside recoveries and take none of their slots.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from chassis.bus.connection import Connection
from chassis.life.blocking import NoAnswer, call_in_thread
from chassis.life.tasks import Supervised, end, until_set
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import (
    ANSWER_SECONDS,
    ASK_CONTENT,
    ASK_ENTRIES,
    PIECE_BYTES,
    POINTS_MAX,
    ContentAnswer,
    ContentAsked,
    EntriesAnswer,
    EntriesAsked,
    PointLooked,
    asked_of,
    content_asked_of,
    encoded,
)
from services.recovery.failures import told_code
from services.recovery.kept import KeptPoint

AT_ONCE = 8
OF_ONE = 2
WAITING_OF_ONE = 8
WAITING_MAX = 64
LIMIT_MAX = 200
CLOSE_SECONDS = 30.0
QUEUE = "recovery-workers"
"""Whoever asks is answered by one worker."""

_T = TypeVar("_T")
_Answer = EntriesAnswer | ContentAnswer
Answering = Callable[[bytes], Awaitable[_Answer]]

_log = logging.getLogger(__name__)


class Finds(Protocol):
    """The catalogue, as far as a look needs it."""

    async def find(self, recovery_point_id: str, organisation: str) -> KeptPoint | None:
        """A point of an organisation, or None."""
        ...


class Looks(Protocol):
    """Looks into points. Blocking; made in a thread."""

    def look(self, asked: EntriesAsked, points: Sequence[KeptPoint], is_over: Callable[[], bool]) -> list[PointLooked]:
        """What lies at the path of these points."""
        ...

    def content(self, asked: ContentAsked, point: KeptPoint, is_over: Callable[[], bool]) -> ContentAnswer:
        """A piece of a file."""
        ...

    def leave(self, organisation: str) -> None:
        """A look of the organisation was left behind."""
        ...

    def close_idle(self) -> None:
        """Close what nobody uses."""
        ...


class LookAnswers:
    """A part of a worker (see `chassis.life.runtime`): answers questions as they come."""

    name = "looks"

    def __init__(
        self,
        *,
        connection: Connection,
        points: Finds,
        looks: Looks,
        telemetry: Telemetry | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._connection = connection
        self._points = points
        self._looks = looks
        self._seconds = seconds
        self._under_way: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._heard: list[Subscription] = []
        self._counting = threading.Lock()
        self._freed = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = Supervised("close-looks", self._close_idle, telemetry=telemetry, every_seconds=CLOSE_SECONDS)

    async def start(self) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        for subject, hear in ((ASK_ENTRIES, self._hear_entries), (ASK_CONTENT, self._hear_content)):
            self._heard.append(await self._connection.client.subscribe(subject, queue=QUEUE, cb=hear))
        await self._closing.start()

    async def stop(self) -> None:
        """Hear nothing more, so that another worker is asked. Who waits is told by the silence."""
        for each in self._heard:
            with suppress(NatsError):
                await each.unsubscribe()
        await self._closing.stop()
        await end(*self._answers)

    async def check(self) -> PlatformError | str | None:
        """Looks are made as long as the worker has its connection, which tells that itself."""
        return await self._closing.check()

    async def _close_idle(self) -> None:
        await asyncio.to_thread(self._looks.close_idle)

    async def _hear_entries(self, message: Msg) -> None:
        self._begin(message, self.answer, EntriesAnswer)

    async def _hear_content(self, message: Msg) -> None:
        self._begin(message, self.content, ContentAnswer)

    def _begin(self, message: Msg, answer: Answering, refused: type[EntriesAnswer] | type[ContentAnswer]) -> None:
        task = asyncio.get_running_loop().create_task(self._respond(message, answer, refused))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _respond(
        self, message: Msg, answering: Answering, refused: type[EntriesAnswer] | type[ContentAnswer]
    ) -> None:
        answer: _Answer
        try:
            if len(self._answers) > WAITING_MAX:
                raise PlatformError(errors.TOO_MANY_REQUESTS, "so many wait already")
            answer = await answering(message.data)
        except PlatformError as error:
            answer = refused(code=told_code(error.code).code)
        except Exception as error:  # noqa: BLE001  # whoever asked is told, whatever it was
            _log.error("a look has failed", extra={"cause": describe(error)})
            answer = refused(code=errors.INTERNAL.code)
        await message.respond(encoded(answer))

    async def answer(self, body: bytes) -> EntriesAnswer:
        """Look. Raises what keeps it from being done at all."""
        asked = _read(asked_of, body)
        if len(asked.recovery_point_ids) > POINTS_MAX or not 0 <= asked.limit <= LIMIT_MAX or asked.place < 0:
            raise PlatformError(errors.INTERNAL, "the question asks for more than may be asked for")
        known = [await self._point(each, asked.organisation) for each in asked.recovery_point_ids]
        points = await self._made(asked.organisation, lambda is_over: self._looks.look(asked, known, is_over))
        return EntriesAnswer(points=tuple(points))

    async def content(self, body: bytes) -> ContentAnswer:
        """A piece of a file. Raises what keeps it from being read."""
        asked = _read(content_asked_of, body)
        if asked.offset < 0 or not 0 < asked.length <= PIECE_BYTES:
            raise PlatformError(errors.INTERNAL, "the question asks for more than may be asked for")
        point = await self._point(asked.recovery_point_id, asked.organisation)
        return await self._made(asked.organisation, lambda is_over: self._looks.content(asked, point, is_over))

    async def _point(self, recovery_point_id: str, organisation: str) -> KeptPoint:
        point = await self._points.find(recovery_point_id, organisation)
        if point is None:
            # The gateway has it: it is on its way here.
            raise PlatformError(errors.RECOVERY_POINT_NOT_SEEN_YET, "the point has not arrived here yet")
        return point

    async def _made(self, organisation: str, look: Callable[[Callable[[], bool]], _T]) -> _T:
        """Make a look in its turn and its time. Raises TOO_MANY_REQUESTS, LOOK_UNANSWERED, and what it raises."""
        until = time.monotonic() + self._seconds

        def is_over() -> bool:
            return time.monotonic() >= until

        if self._waiting[organisation] >= WAITING_OF_ONE:
            raise PlatformError(errors.TOO_MANY_REQUESTS, "so many of the organisation wait already")
        self._waiting[organisation] += 1
        try:
            await self._turn(organisation, until)
        finally:
            self._waiting[organisation] -= 1
            if not self._waiting[organisation]:
                del self._waiting[organisation]

        def make() -> _T:
            try:
                return look(is_over)
            finally:
                self._ended(organisation)

        try:
            return await call_in_thread(make, is_overdue=is_over)
        except NoAnswer as error:
            self._looks.leave(organisation)
            raise PlatformError(errors.LOOK_UNANSWERED, "a tier holds the look") from error

    async def _turn(self, organisation: str, until: float) -> None:
        """Wait until the look may begin, and count it. Raises TOO_MANY_REQUESTS where its time is over before."""
        while True:
            with self._counting:
                if self._under_way.total() < AT_ONCE and self._under_way[organisation] < OF_ONE:
                    self._under_way[organisation] += 1
                    return
                self._freed.clear()
            if time.monotonic() >= until:
                raise PlatformError(errors.TOO_MANY_REQUESTS, "others look at their points")
            await until_set(self._freed, max(0.01, until - time.monotonic()))

    def _ended(self, organisation: str) -> None:
        with self._counting:
            self._under_way[organisation] -= 1
            if not self._under_way[organisation]:
                del self._under_way[organisation]
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._freed.set)


def _read(read: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return read(body)
    except msgspec.DecodeError as error:
        raise PlatformError(errors.EVENT_UNREADABLE, "the question cannot be read") from error
