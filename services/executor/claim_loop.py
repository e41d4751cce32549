"""A worker's loop: take a run when a slot is free, keep its claim alive, perform it, take the next.

Promise: never more runs than slots; a claim is kept by heartbeats for as long as its run is performed and not a beat
longer; on a graceful stop the runs under way are interrupted and given back, so that others take them at once; a
claim that was lost interrupts its run. Postgres being away interrupts nothing: the heartbeat waits for it.
"""

import asyncio
import logging
import threading
from contextlib import suppress

from nats.aio.msg import Msg

from chassis.connection import Connection
from chassis.tasks import end
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import WAKE_WORKERS
from services.executor.performance import RunInterrupted, RunPerformance
from services.executor.ports import Claim, Claims

POLL_SECONDS = 1.0

_log = logging.getLogger(__name__)


class ClaimLoop:
    """A part of the worker process (see `chassis.runtime`)."""

    name = "claim-loop"

    def __init__(
        self,
        *,
        claims: Claims,
        performance: RunPerformance,
        connection: Connection,
        worker: str,
        slots: int,
        beat_seconds: float,
    ) -> None:
        self._claims = claims
        self._performance = performance
        self._connection = connection
        self._worker = worker
        self._slots = asyncio.Semaphore(slots)
        self._beat_seconds = beat_seconds
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._trouble: PlatformError | None = None

    async def start(self) -> None:
        """Listen for wake-ups and begin to claim."""
        await self._connection.client.subscribe(WAKE_WORKERS, cb=self._woken)
        self._loop_task = asyncio.create_task(self._claim_for_ever(), name="claim-loop")

    async def stop(self) -> None:
        """Claim no more, interrupt the runs under way, and give them back."""
        self._stopping.set()
        if self._loop_task is not None:
            await end(self._loop_task)
        if self._running:
            await asyncio.wait(self._running)

    async def check(self) -> PlatformError | str | None:
        """What keeps the worker from claiming, or None."""
        if self._loop_task is not None and self._loop_task.done():
            return "the claim loop has ended"
        return self._trouble

    async def _woken(self, _message: Msg) -> None:
        self._wake.set()

    async def _claim_for_ever(self) -> None:
        while True:
            await self._slots.acquire()
            claim = await self._next_claim()
            task = asyncio.create_task(self._hold(claim), name=f"run {claim.run_id}")
            self._running.add(task)
            task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()

    async def _next_claim(self) -> Claim:
        while True:
            self._wake.clear()
            try:
                claim = await self._claims.take(self._worker)
                self._trouble = None
            except PlatformError as error:
                self._trouble = error
                claim = None
            if claim is not None:
                return claim
            # The wake-up only saves time: NATS may lose it, and a silent worker's run is announced by nobody.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _hold(self, claim: Claim) -> None:
        lost = threading.Event()
        beats = asyncio.create_task(self._keep_alive(claim, lost), name=f"heartbeat {claim.run_id}")
        extra = {"run_id": claim.run_id, "fence": claim.fence, "organisation": claim.organisation}
        _log.info("claimed a run", extra=extra)
        try:
            await self._performance.perform(claim, lambda: lost.is_set() or self._stopping.is_set())
            _log.info("a run has ended", extra=extra)
        except RunInterrupted:
            if not lost.is_set():
                await self._give_back(claim)
        except PlatformError as error:
            _log.warning("a run was left", extra={**extra, "code": error.code.code})
            # Given back is what the next worker may do better. Whatever else it was would be the same at once.
            if error.code in {errors.CONCURRENT_CHANGE, errors.UNAVAILABLE}:
                await self._give_back(claim)
        except Exception:  # noqa: BLE001  # whatever it was, the loop goes on and the claim falls silent
            # Not given back: the claim falls silent, the next worker takes the run under a higher fence,
            # and after a number of attempts the run is failed instead of going round for ever.
            _log.exception("a run broke off", extra=extra)
        finally:
            beats.cancel()

    async def _keep_alive(self, claim: Claim, lost: threading.Event) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            try:
                if not await self._claims.beat(claim):
                    lost.set()
                    return
            except PlatformError as error:
                _log.warning("no heartbeat", extra={"run_id": claim.run_id, "code": error.code.code})

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._claims.release(claim)
        except PlatformError as error:
            _log.warning("a run could not be given back", extra={"run_id": claim.run_id, "code": error.code.code})
