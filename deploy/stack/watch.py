"""Asks one running part again and again how it is, from its start to its end, and ends it where it hangs."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from deploy.stack.child import Child
from deploy.stack.part import Part
from deploy.stack.probes import Grade, Probe, Trouble
from deploy.stack.report import Report
from deploy.stack.silence import STARTING_PATIENCE, LoopLag, Silence
from deploy.stack.state import Condition

STARTING_PROBE_SECONDS = 0.05
PROBE_SECONDS = 2.0
OPERATOR_SECONDS = 5.0
"""How long a part may need an operator before the start goes on without it."""
STILL_SECONDS = 20.0
"""How often the start says that it still waits for a part."""
HANG_GRACE_SECONDS = 10.0


class Unsteady(msgspec.Struct, frozen=True):
    """A part that has kept failing is degraded, for this reason, until it has been up for so many seconds on end."""

    reason: str
    seconds: float


class Watch:
    """The watch over one process of a part.

    `is_needed`: other parts wait for it, so that the start cannot go on without it. `ready` is set once it is up, or
    once the start goes on without it; `refuse` is called where the start has to be given up.
    """

    def __init__(
        self,
        part: Part,
        child: Child,
        report: Report,
        lag: LoopLag,
        *,
        ready: asyncio.Event,
        is_needed: bool,
        unsteady: Unsteady | None = None,
        refuse: Callable[[str], None],
    ) -> None:
        self._part = part
        self._child = child
        self._report = report
        self._silence = Silence(lag)
        self._ready = ready
        self._is_needed = is_needed
        self._unsteady = unsteady
        self._refuse = refuse
        self._begun = time.monotonic()
        self._said_at = self._begun
        self._well_since: float | None = None
        self.well_seconds = 0.0
        """For how long it was up on end, the last time."""
        self.ended_because: str | None = None
        """Why the watch has ended the part, where it has."""

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001  # a part that nobody looks after any more would be the worst
                self._report.say(self._part.name, f"cannot be looked after: {type(error).__name__}: {error}")
            is_starting = self._report.part(self._part).condition is Condition.STARTING
            await asyncio.sleep(STARTING_PROBE_SECONDS if is_starting else PROBE_SECONDS)

    async def _look(self) -> None:
        trouble = await self._ask(self._part.probe)
        if trouble is None or trouble.grade is Grade.DEGRADED:
            self._note_up(trouble)
            return
        if trouble.grade is Grade.LOST:
            await self._end(trouble.reason, at_once=True)
            return
        is_alive = await self._is_alive(trouble)
        if self._report.part(self._part).condition is Condition.STARTING:
            self._note_starting(trouble, is_alive)
        else:
            self._report.change(self._part, Condition.NOT_READY, trouble.reason)
        await self._look_for_hang(trouble, is_alive)

    async def _ask(self, probe: Probe) -> Trouble | None:
        """What a probe says. One that fails itself says that: the watch must not end with it."""
        try:
            async with asyncio.timeout(self._part.answer_seconds):
                return await probe()
        except TimeoutError:
            return Trouble(f"does not answer within {self._part.answer_seconds:g} s", restart_helps=True)
        except Exception as error:  # noqa: BLE001  # a probe speaks to a part that may answer anything
            return Trouble(f"cannot be asked: {type(error).__name__}: {error}")

    async def _is_alive(self, trouble: Trouble) -> bool:
        """Whether it gives a sign of life."""
        return not trouble.restart_helps if self._part.live is None else await self._ask(self._part.live) is None

    def _note_up(self, trouble: Trouble | None) -> None:
        now = time.monotonic()
        self._well_since = self._well_since or now
        self.well_seconds = now - self._well_since
        self._silence.broken()
        if trouble is None and self._unsteady is not None and self.well_seconds <= self._unsteady.seconds:
            trouble = Trouble(self._unsteady.reason, Grade.DEGRADED)
        state = self._report.part(self._part)
        if not state.condition.is_up:
            state.ready_seconds = now - self._begun
            what = "ready" if trouble is None else "up, but degraded:"
            why = "" if trouble is None else f" {trouble.reason};"
            since = f"{state.ready_seconds:.2f} s after its start, pid {self._child.pid}"
            self._report.say(self._part.name, f"{what}{why} {since}")
        if trouble is None:
            self._report.change(self._part, Condition.READY, None)
        else:
            self._report.change(self._part, Condition.DEGRADED, trouble.reason)
        self._ready.set()

    def _note_starting(self, trouble: Trouble, is_alive: bool) -> None:
        """A part that is not ready yet: wait, go on without it, or give the start up."""
        now = time.monotonic()
        self._report.change(self._part, Condition.STARTING, trouble.reason)
        needs_operator = trouble.grade is Grade.NEEDS_OPERATOR
        if now - self._begun <= (OPERATOR_SECONDS if needs_operator else self._part.ready_seconds):
            self._say_still(now, trouble)
        elif is_alive and (self._part.live is not None or not self._is_needed):
            # What keeps it from its work is mended by commands that need the platform to be up.
            self._report.say(self._part.name, f"is up and not ready: {trouble.reason}")
            self._report.change(self._part, Condition.NOT_READY, trouble.reason)
            self._ready.set()
        elif is_alive and not needs_operator:
            # A server that replays its log says so. Ending it would begin that anew.
            self._say_still(now, trouble)
        elif not self._ready.is_set():
            self._refuse(f"{self._part.name} is not ready in time: {trouble.reason}")

    def _say_still(self, now: float, trouble: Trouble) -> None:
        if now - self._said_at > STILL_SECONDS:
            self._said_at = now
            self._report.say(self._part.name, f"is still starting after {now - self._begun:.0f} s: {trouble.reason}")

    async def _look_for_hang(self, trouble: Trouble, is_alive: bool) -> None:
        """End a part that has been silent for too long."""
        self._well_since = None
        if is_alive:
            self._silence.broken()
            return
        self._silence.goes_on()
        is_starting = self._report.part(self._part).condition is Condition.STARTING
        patience = self._part.hang_seconds * (STARTING_PATIENCE if is_starting else 1)
        if self._silence.is_longer_than(patience):
            await self._end(f"has not answered for {patience:.0f} s ({trouble.reason})")

    async def _end(self, reason: str, *, at_once: bool = False) -> None:
        """End the part, its own way first where what it still writes does no harm."""
        self.ended_because = reason
        self._report.say(self._part.name, f"{reason}; it is ended")
        self._report.change(self._part, Condition.NOT_READY, reason)
        if at_once:
            self._child.kill()
            await self._child.wait()
            return
        await self._child.stop(
            self._part.stop_signal, grace_seconds=HANG_GRACE_SECONDS, kill_signal=self._part.kill_signal
        )
