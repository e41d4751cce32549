"""A worker's answers to what is asked of it at once: what lies in recovery points.

Promise: every question gets an answer within its time, or the reason why there is none. At most `AT_ONCE` looks are
made at a time, `OF_ONE` of an organisation: others wait their turn, for as long as their question's time goes. A look
that a tier holds counts until it ends, so that a disk that hangs costs its organisation's share and no other's.
Looks run beside recoveries and take none of their slots.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from nats.aio.msg import Msg

from chassis.bus.connection import Connection
from chassis.life.blocking import NoAnswer, call_in_thread
from chassis.life.tasks import Supervised, end, until_set
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.looking import (
    ANSWER_SECONDS,
    ASK_ENTRIES,
    POINTS_MAX,
    EntriesAnswer,
    EntriesAsked,
    PointLooked,
    asked_of,
    encoded,
)
from services.recovery.failures import told_code
from services.recovery.kept import KeptPoint

AT_ONCE = 8
OF_ONE = 2
WAITING_MAX = 64
LIMIT_MAX = 200
CLOSE_SECONDS = 30.0
QUEUE = "recovery-workers"
"""Whoever asks is answered by one worker."""

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
        self._counting = threading.Lock()
        self._freed = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = Supervised("close-looks", self._close_idle, telemetry=telemetry, every_seconds=CLOSE_SECONDS)

    async def start(self) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await self._connection.client.subscribe(ASK_ENTRIES, queue=QUEUE, cb=self._hear)
        await self._closing.start()

    async def stop(self) -> None:
        """Answer nothing more. Who waits is told by the silence."""
        await self._closing.stop()
        await end(*self._answers)

    async def check(self) -> PlatformError | str | None:
        """Looks are made as long as the worker has its connection, which tells that itself."""
        return await self._closing.check()

    async def _close_idle(self) -> None:
        await asyncio.to_thread(self._looks.close_idle)

    async def _hear(self, message: Msg) -> None:
        if len(self._answers) >= WAITING_MAX:
            await message.respond(encoded(EntriesAnswer(code=errors.TOO_MANY_REQUESTS.code)))
            return
        task = asyncio.get_running_loop().create_task(self._respond(message))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _respond(self, message: Msg) -> None:
        try:
            answer = await self.answer(message.data)
        except PlatformError as error:
            answer = EntriesAnswer(code=told_code(error.code).code)
        except Exception as error:  # noqa: BLE001  # whoever asked is told, whatever it was
            _log.error("a look has failed", extra={"cause": describe(error)})
            answer = EntriesAnswer(code=errors.INTERNAL.code)
        await message.respond(encoded(answer))

    async def answer(self, body: bytes) -> EntriesAnswer:
        """Look. Raises what keeps it from being done at all."""
        until = time.monotonic() + self._seconds
        try:
            asked = asked_of(body)
        except msgspec.DecodeError as error:
            raise PlatformError(errors.EVENT_UNREADABLE, "the question cannot be read") from error
        if len(asked.recovery_point_ids) > POINTS_MAX or not 0 <= asked.limit <= LIMIT_MAX or asked.place < 0:
            raise PlatformError(errors.INTERNAL, "the question asks for more than may be asked for")
        known: list[KeptPoint] = []
        for each in asked.recovery_point_ids:
            point = await self._points.find(each, asked.organisation)
            if point is None:
                # The gateway has it: it is on its way here.
                raise PlatformError(errors.RECOVERY_POINT_NOT_SEEN_YET, "the point has not arrived here yet")
            known.append(point)
        await self._turn(asked.organisation, until)

        def look() -> list[PointLooked]:
            try:
                return self._looks.look(asked, known, lambda: time.monotonic() >= until)
            finally:
                self._ended(asked.organisation)

        try:
            points = await call_in_thread(look, is_overdue=lambda: time.monotonic() >= until)
        except NoAnswer as error:
            self._looks.leave(asked.organisation)
            raise PlatformError(errors.LOOK_UNANSWERED, "a tier holds the look") from error
        return EntriesAnswer(points=tuple(points))

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
