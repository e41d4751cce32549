"""A worker's loops: take work when a slot is free, perform it, and keep the claims of all that is under way alive.

Promise: never more at a time than slots; a claim is kept by heartbeats for as long as its work is performed and not a
beat longer; on a graceful stop the work under way is interrupted and given back, so that others take it at once; a
claim that was lost interrupts its work. Postgres being away interrupts nothing. Whatever either loop meets, it goes
on; while it gets nowhere the worker is not ready, and says why. A worker that could do no work at all claims none: it
would be the fastest of all to end it.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from nats.aio.msg import Msg

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.port import GIVEN_BACK, Claim, Claims, Performer, Trouble
from chassis.life.blocking import RunInterrupted
from chassis.life.tasks import Supervised, end, until_set
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

POLL_SECONDS = 1.0
PRESENT_SECONDS = 10.0
"""So often a worker says that it looks for work, or what keeps it from that; a change of it at once."""
ANSWER_SECONDS = 10.0
"""How long Postgres may take to answer before it counts as away: a hung server must not hold a loop for ever."""
LEAVE_SECONDS = 1.0
"""How long a claim that is being taken is waited for on a stop: cancelled, it would be nobody's and seem a death."""

_log = logging.getLogger(__name__)


@dataclass
class _Held:
    """A claim whose work is being performed."""

    claim: Claim
    lost: threading.Event = field(default_factory=threading.Event)


class ClaimLoop:
    """A part of the worker process (see `chassis.life.runtime`).

    `noun`: what a piece of the work is called. `wake` and `stop`: the subjects on which it is said that there is work
    to be taken, or that some was cancelled. `require_means` raises what keeps this worker from doing any work.
    """

    def __init__(
        self,
        *,
        noun: str,
        claims: Claims,
        performer: Performer,
        connection: Connection,
        wake: str,
        stop: str,
        worker: str,
        slots: int,
        beat_seconds: float,
        set_aside: SetAside,
        name: str = "claim-loop",
        require_means: Callable[[], Awaitable[None]] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.name = name
        self._noun, self._id = noun, f"{noun}_id"
        self._set_aside = set_aside
        self._require_means = require_means
        self._claims = claims
        self._performer = performer
        self._connection = connection
        self._worker = worker
        self._slots = asyncio.Semaphore(slots)
        self._wake_subject, self._stop_subject = wake, stop
        self._wake = claims.freed
        self._stopping = threading.Event()
        self._held: dict[str, _Held] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._has_looked = False
        self._presence: tuple[float, ErrorCode | None] | None = None
        self._claiming = Supervised(self.name, self._claim_next, telemetry=telemetry)
        self._beating = Supervised("heartbeats", self._keep_heard, telemetry=telemetry, every_seconds=beat_seconds)

    async def start(self) -> None:
        """Listen for wake-ups and begin to claim."""
        await self._connection.client.subscribe(self._wake_subject, cb=self._woken)
        await self._connection.client.subscribe(self._stop_subject, cb=self._told_to_stop)
        await self._beating.start()
        await self._claiming.start()

    async def stop(self) -> None:
        """Claim no more, interrupt the work under way, and give it back."""
        self._stopping.set()
        self._wake.set()
        await self._claiming.stop(wait_seconds=LEAVE_SECONDS)
        if self._running:
            await asyncio.wait(self._running)
        await self._beating.stop()

    async def check(self) -> PlatformError | str | None:
        """What keeps the worker from claiming, or from keeping its claims; None."""
        return await self._claiming.check() or await self._beating.check()

    async def ended(self) -> BaseException:
        """Wait until a loop has ended without having been stopped, which ends the process."""
        ends = [asyncio.create_task(loop.ended()) for loop in (self._claiming, self._beating)]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            await end(*ends)

    async def _woken(self, _message: Msg) -> None:
        self._wake.set()

    async def _told_to_stop(self, _message: Msg) -> None:
        # As with the wake-up: where it is lost, or Postgres does not answer, the next heartbeat finds out.
        with suppress(PlatformError):
            await self._beat()

    async def _claim_next(self) -> None:
        """One turn: wait for a slot, look for work, and begin it, or wait for a while."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            return  # All slots are busy, which may take hours, and is no standstill.
        claim = None
        try:
            if self._stopping.is_set():
                return
            self._wake.clear()
            if self._require_means is not None:
                await self._require_means()
            claim = await self._take()
            self._has_looked = True
            if claim is not None:
                self._begin(claim)
        finally:
            if claim is None:
                self._slots.release()
        if claim is None:
            # The wake-up only saves time: NATS may lose it, and a silent worker's work is announced by nobody.
            await until_set(self._wake, POLL_SECONDS)

    async def _take(self) -> Claim | None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._claims.take(self._worker, aside=self._set_aside.ids())
        except TimeoutError as error:
            raise _no_answer() from error

    def _begin(self, claim: Claim) -> None:
        held = self._held[claim.work_id] = _Held(claim)
        task = asyncio.create_task(self._hold(held), name=f"{self._noun} {claim.work_id}")
        self._running.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        self._wake.set()  # What is over may have been what other work waited for.

    async def _hold(self, held: _Held) -> None:
        claim = held.claim
        extra = {self._id: claim.work_id, "fence": claim.fence, "organisation": claim.organisation}
        _log.info("claimed a %s", self._noun, extra=extra)
        try:
            await self._performer.perform(claim, lambda: held.lost.is_set() or self._stopping.is_set())
            _log.info("a %s has ended", self._noun, extra=extra)
        except RunInterrupted as interrupted:
            if not held.lost.is_set():
                await self._change(partial(self._performer.give_back, is_left=interrupted.is_left), claim)
            elif interrupted.is_left:
                await self._change(partial(self._claims.release, is_left=True), claim)
            else:
                # It was cancelled while it opened the repository, or is another's: then this changes nothing.
                await self._change(self._claims.close, claim)
        except PlatformError as error:
            _log.warning("a %s was left", self._noun, extra={**extra, "code": error.code.code})
            # Given back is what the next worker may do better. Whatever else it was would be the same at once.
            if error.code in GIVEN_BACK:
                again = self._set_aside.pause(claim.work_id, error, troubles=claim.troubles)
                await self._change(partial(self._performer.give_back, trouble=Trouble(error, again)), claim)
            else:
                await self._change(self._claims.opened, claim)
        except Exception:  # noqa: BLE001  # whatever it was, the loop goes on and the claim falls silent
            # Not given back: the claim falls silent, the next worker takes the work under a higher fence,
            # and after a number of attempts it is failed instead of going round for ever.
            _log.exception("a %s broke off", self._noun, extra=extra)
            await self._change(self._claims.opened, claim)
        finally:
            if self._held.get(claim.work_id) is held:
                del self._held[claim.work_id]

    async def _keep_heard(self) -> None:
        await self._beat()
        trouble = await self._claiming.check()
        if trouble is None and not self._has_looked:
            return  # It has just begun, and what it lacks shows at its first look.
        lack = trouble.code if isinstance(trouble, PlatformError) else None
        now = time.monotonic()
        if self._presence is None or self._presence[1] is not lack or now - self._presence[0] >= PRESENT_SECONDS:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._claims.present(self._worker, lack)
            except TimeoutError as error:
                raise _no_answer() from error
            self._presence = now, lack

    async def _beat(self) -> None:
        """Keep all claims at once, on a connection that nothing else uses."""
        held = list(self._held.values())
        if not held:
            return
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                own = await self._claims.beat([each.claim for each in held])
        except TimeoutError as error:
            raise _no_answer() from error
        for each in held:
            if each.claim.work_id not in own:
                each.lost.set()

    async def _change(self, change: Callable[[Claim], Awaitable[object]], claim: Claim) -> None:
        """Let go of a claim, or let others open; where that fails the claim falls silent."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await change(claim)
        except Exception as error:  # noqa: BLE001  # the loop goes on, and the database says no more of the claim
            _log.warning("a claim could not be let go", exc_info=error, extra={self._id: claim.work_id})


def _no_answer() -> PlatformError:
    return PlatformError(errors.UNAVAILABLE, f"postgres did not answer within {ANSWER_SECONDS:.0f} s", part="postgres")
