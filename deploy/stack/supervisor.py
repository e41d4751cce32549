"""Starts the parts of a platform in order, keeps them running, and stops them in reverse.

Promise: a part is started once all that it needs is ready, and stopped once all that need it are gone.
The start as a whole fails when a part ends again and again or is not ready in time, and then everything
is stopped; a part that is alive and waits for an operator does not fail it. After that a part that ends
is started anew, at once at first and then with growing pauses, for ever; a part that is alive but does not
answer is killed and started anew. Children do not outlive the supervisor (`deploy.stack.child`). What
happens is told in whole lines (`say`) and kept in a report for `status` (`deploy.stack.state`).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from chassis.clock import Clock, SystemClock
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.child import Child
from deploy.stack.logs import last_lines, rotate
from deploy.stack.part import Part, Step
from deploy.stack.probes import Grade, Probe, Trouble
from deploy.stack.state import Condition, PartState, StackState

FIRST_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 30.0
"""A part that ran this long has started well: the next pause is the first again."""
STARTING_PROBE_SECONDS = 0.05
OPERATOR_SECONDS = 5.0
"""How long a part may need an operator before the start goes on without it."""
PROBE_SECONDS = 2.0
ROTATE_SECONDS = 5.0
EXIT_CONFIGURATION = 78
"""A setting is wrong: starting anew does not help."""


class Supervisor:
    """Runs one platform. `run` is called once."""

    def __init__(
        self,
        units: Sequence[Part | Step],
        *,
        state: StackState,
        report: Callable[[StackState], None],
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._units = units
        self._parts = [unit for unit in units if isinstance(unit, Part)]
        self._state = state
        self._report = report
        self._say = say
        self._clock = clock or SystemClock()
        self._ready = {unit.name: asyncio.Event() for unit in units}
        self._gone = {part.name: asyncio.Event() for part in self._parts}
        self._children: dict[str, Child] = {}
        self._stopping = asyncio.Event()
        self._failure: PlatformError | None = None
        self._settled = asyncio.Event()
        self._is_silent = False
        state.parts = [
            PartState(name=part.name, condition=Condition.WAITING, ports=dict(part.ports), log=str(part.log))
            for part in self._parts
        ]

    async def run(self, stop: asyncio.Event, *, started: Callable[[float], None] | None = None) -> None:
        """Start everything, call `started` with the seconds it took, wait for `stop`, stop everything.

        Raises STACK_FAILED where the start failed; by then everything is stopped.
        """
        begun = time.monotonic()
        tasks = [asyncio.create_task(self._supervise(unit)) for unit in self._units]
        tasks.append(asyncio.create_task(self._rotate_logs()))
        try:
            await self._first(stop.wait(), self._settled.wait(), self._all_ready())
            if self._failure is None and not stop.is_set():
                seconds = time.monotonic() - begun
                self._state.ready_seconds = seconds
                self._change_all(self._overall())
                if started is not None:
                    started(seconds)
                await stop.wait()
        finally:
            await self._stop_all(tasks)
        if self._failure is not None:
            raise self._failure

    def kill(self) -> None:
        """Kill every part at once; for a second Ctrl-C."""
        for child in self._children.values():
            child.kill()

    @staticmethod
    async def _first(*coroutines: Coroutine[Any, Any, object]) -> None:
        waits = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _all_ready(self) -> None:
        for ready in self._ready.values():
            await ready.wait()

    async def _supervise(self, unit: Part | Step) -> None:
        try:
            for need in unit.needs:
                await self._ready[need].wait()
            if isinstance(unit, Step):
                await self._do(unit)
            else:
                await self._keep(unit)
        except PlatformError as error:
            self._fail(unit.name, error)
        except Exception as error:  # noqa: BLE001  # whatever it is, the platform must not stay half started
            self._fail(unit.name, PlatformError(errors.STACK_FAILED, f"{unit.name}: {type(error).__name__}: {error}"))

    async def _do(self, step: Step) -> None:
        begun = time.monotonic()
        await step.run()
        self._say(f"{step.name:<18} done in {time.monotonic() - begun:.2f} s")
        self._ready[step.name].set()

    def _fail(self, name: str, error: PlatformError) -> None:
        if self._stopping.is_set() or self._failure is not None:
            return
        self._say(f"{name:<18} failed: {error}")
        if self._state.ready_seconds is None:
            self._failure = error
            self._settled.set()
            return
        # The platform is up: what is left of it goes on, and `status` shows what does not.
        for part in self._parts:
            if part.name == name:
                self._change(part, Condition.FAILED, str(error))

    async def _keep(self, part: Part) -> None:
        """Start a part, wait for its end, start it anew."""
        pause, attempts = FIRST_PAUSE_SECONDS, 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            end, helps = await self._run_once(part, begun)
            if self._stopping.is_set():
                return
            attempts += 1
            if not self._ready[part.name].is_set() and (attempts >= FIRST_ATTEMPTS or not helps):
                raise self._refusal(part, f"{part.name} {end} before it was ready")
            if time.monotonic() - begun > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._state.part(part.name).restarts += 1
            reason = f"{end}; starts again in {pause:.1f} s"
            self._say(f"{part.name:<18} {reason}")
            self._change(part, Condition.RESTARTING, reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if helps else LONGEST_PAUSE_SECONDS

    async def _run_once(self, part: Part, begun: float) -> tuple[str, bool]:
        """Run a part from its start to its end: how it ended, and whether starting anew may help at once."""
        try:
            child = self._start(part)
        except (OSError, PlatformError) as error:
            # A full disk, say: its configuration cannot be written now, and can be later.
            return f"cannot be started ({error})", True
        watch = asyncio.create_task(self._watch(part, child, begun))
        try:
            code = await child.wait()
        finally:
            watch.cancel()
        return f"ended with {_exit_in_words(code)}", code != EXIT_CONFIGURATION

    def _refusal(self, part: Part, message: str) -> PlatformError:
        tail = list(dict.fromkeys(last_lines(part.log, 3)))
        last_words = f"; its last words: {' | '.join(tail)}" if tail else ""
        return PlatformError(errors.STACK_FAILED, f"{message}{last_words}", part=part.name, log=str(part.log))

    def _start(self, part: Part) -> Child:
        with contextlib.suppress(OSError):
            rotate(part.log)
        child = self._children[part.name] = Child.start(part.launch())
        state = self._state.part(part.name)
        state.process = child.identity
        self._change(part, Condition.STARTING, None)
        return child

    async def _watch(self, part: Part, child: Child, begun: float) -> None:
        """Ask a part again and again how it is, from its start to its end."""
        state = self._state.part(part.name)
        silent_since: float | None = None
        while not self._stopping.is_set():
            trouble = await _ask(part.probe)
            if self._stopping.is_set():
                return
            if trouble is None or trouble.grade is Grade.DEGRADED:
                self._note_up(part, child, trouble, time.monotonic() - begun)
            elif state.condition is Condition.STARTING:
                await self._note_starting(part, trouble, time.monotonic() - begun)
            else:
                self._change(part, Condition.NOT_READY, trouble.reason)
            silent_since = await self._look_for_hang(part, child, trouble, silent_since)
            await asyncio.sleep(STARTING_PROBE_SECONDS if state.condition is Condition.STARTING else PROBE_SECONDS)

    def _note_up(self, part: Part, child: Child, trouble: Trouble | None, seconds: float) -> None:
        state = self._state.part(part.name)
        if not state.condition.is_up:
            state.ready_seconds = seconds
            self._say(f"{part.name:<18} ready in {seconds:.2f} s, pid {child.pid}")
        if trouble is None:
            self._change(part, Condition.READY, None)
        else:
            self._change(part, Condition.DEGRADED, trouble.reason)
        self._ready[part.name].set()

    async def _note_starting(self, part: Part, trouble: Trouble, seconds: float) -> None:
        """A part that is not ready yet: wait, go on without it, or give the start up."""
        self._state.part(part.name).reason = trouble.reason
        in_time = OPERATOR_SECONDS if trouble.grade is Grade.NEEDS_OPERATOR else part.ready_seconds
        if seconds <= in_time:
            return
        if part.live is not None and await _ask(part.live) is None:
            # What keeps it from its work is mended by commands that need the platform to be up.
            self._say(f"{part.name:<18} is up and not ready: {trouble.reason}")
            self._change(part, Condition.NOT_READY, trouble.reason)
            self._ready[part.name].set()
        elif not self._ready[part.name].is_set():
            self._fail(part.name, self._refusal(part, f"{part.name} is not ready in time: {trouble.reason}"))

    async def _look_for_hang(
        self, part: Part, child: Child, trouble: Trouble | None, silent_since: float | None
    ) -> float | None:
        """Since when a part has been silent; kills it when that is too long."""
        if part.live is None or trouble is None or await _ask(part.live) is None:
            return None
        now = time.monotonic()
        if silent_since is None:
            return now
        if now - silent_since > part.hang_seconds:
            self._say(f"{part.name:<18} has not answered for {part.hang_seconds:.0f} s and is killed")
            child.kill()
            return None
        return silent_since

    def _change(self, part: Part, condition: Condition, reason: str | None) -> None:
        state = self._state.part(part.name)
        if state.condition is condition and state.reason == reason and state.since is not None:
            return
        if state.condition is not condition:
            state.since = self._clock.now()
        state.condition, state.reason = condition, reason
        if self._state.condition in (Condition.READY, Condition.DEGRADED):
            self._state.condition = self._overall()
        self._tell_report()

    def _tell_report(self) -> None:
        try:
            self._report(self._state)
        except OSError as error:
            # On a full disk the report grows old, but the parts are looked after all the same.
            if not self._is_silent:
                self._say(f"the report cannot be written: {error.strerror}")
            self._is_silent = True
        else:
            self._is_silent = False

    def _overall(self) -> Condition:
        """How the platform is once it was started."""
        well = all(part.condition is Condition.READY for part in self._state.parts)
        return Condition.READY if well else Condition.DEGRADED

    def _change_all(self, condition: Condition) -> None:
        self._state.condition = condition
        self._tell_report()

    async def _stop_all(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        self._stopping.set()
        self._change_all(Condition.STOPPING)
        await asyncio.gather(*(self._stop(part) for part in self._parts))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._change_all(Condition.FAILED if self._failure else Condition.STOPPED)

    async def _stop(self, part: Part) -> None:
        for other in self._parts:
            if part.name in self._needed_by(other):
                await self._gone[other.name].wait()
        child = self._children.get(part.name)
        if child is not None and child.exit_code is None:
            self._change(part, Condition.STOPPING, None)
            begun = time.monotonic()
            gracefully = await child.stop(part.stop_signal, grace_seconds=part.stop_seconds)
            how = "stopped" if gracefully else f"killed, it did not stop within {part.stop_seconds:.0f} s;"
            self._say(f"{part.name:<18} {how} in {time.monotonic() - begun:.2f} s")
        self._change(part, Condition.STOPPED, None)
        self._gone[part.name].set()

    def _needed_by(self, part: Part) -> set[str]:
        """The parts that one needs, also through steps."""
        by_name = {unit.name: unit for unit in self._units}
        needed: set[str] = set()
        open_ = list(part.needs)
        while open_:
            name = open_.pop()
            if name not in needed:
                needed.add(name)
                open_.extend(by_name[name].needs)
        return needed

    async def _rotate_logs(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_SECONDS)
            for part in self._parts:
                try:
                    rotate(part.log)
                except OSError as error:
                    self._say(f"{part.name:<18} log cannot be rotated: {error.strerror}")


async def _ask(probe: Probe) -> Trouble | None:
    """What a probe says. One that fails itself says that: the watch must not end with it."""
    try:
        return await probe()
    except Exception as error:  # noqa: BLE001  # a probe speaks to a part that may answer anything
        return Trouble(f"cannot be asked: {type(error).__name__}: {error}")


def _exit_in_words(code: int) -> str:
    """`exit code 3`, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}"
