"""Starts the parts of a platform in order, keeps them running, and stops them in reverse.

Promise: a part begins once all that it needs is ready (some load their code before, and wait for the word:
`deploy.stack.early`), and is stopped once all that need it are gone.
The start as a whole fails when a part ends again and again or is not ready in time, and then everything
is stopped; a part that is alive and waits for an operator, or whose store is gone, fails it only where other parts
need it. After that a part that ends is started anew, at once at first and then with growing pauses, for ever;
a part that is alive but does not answer is ended and started anew (`deploy.stack.watch`). Children do not outlive
the supervisor (`deploy.stack.child`). What happens is told in whole lines (`say`) and kept in a report for `status`
(`deploy.stack.report`).
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from chassis.clock import Clock
from chassis.life.tasks import end
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.child import Child
from deploy.stack.logs import end_of, last_words, rotate
from deploy.stack.part import Part, Step
from deploy.stack.report import Report
from deploy.stack.silence import LoopLag
from deploy.stack.state import Condition, PlaceState, StackState
from deploy.stack.stores import StoreGone
from deploy.stack.watch import Unsteady, Watch

FIRST_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
SETTLED_SECONDS = 60.0
"""A part that was up this long on end has started well: the next pause is the first again."""
KEEPS_FAILING = 4
"""After so many failures in a row a part is said to keep failing, with what to do."""
TICK_SECONDS = 5.0
"""How often logs are cut, folders are looked at and the report is written at least."""
STILL_STOPPING_SECONDS = 3.0
EXIT_CONFIGURATION = 78
"""A setting is wrong: starting anew does not help."""


class Supervisor:
    """Runs one platform. `run` is called once. `look`: how the platform's folders are.

    `begun`: since when the start is waited for (`time.monotonic`), whatever came before the supervisor.
    """

    def __init__(
        self,
        units: Sequence[Part | Step],
        *,
        state: StackState,
        report: Callable[[StackState], None],
        say: Callable[[str], None],
        look: Callable[[], Awaitable[list[PlaceState]]] | None = None,
        clock: Clock | None = None,
        begun: float | None = None,
    ) -> None:
        self._units = units
        self._begun = time.monotonic() if begun is None else begun
        self._parts = [unit for unit in units if isinstance(unit, Part)]
        self._report = Report(state, write=report, say=say, clock=clock)
        self._say = say
        self._look = look
        self._ready = {unit.name: asyncio.Event() for unit in units}
        self._gone = {part.name: asyncio.Event() for part in self._parts}
        self._children: dict[str, Child] = {}
        self._loaded: dict[str, Child] = {}
        """Those that were started early and wait for the word to begin."""
        self._log_begins: dict[str, int] = {}
        self._wrong: dict[str, str | None] = {}
        self._lag = LoopLag()
        self._stopping = asyncio.Event()
        self._failure: PlatformError | None = None
        self._settled = asyncio.Event()
        self._report.begin(self._parts)

    async def run(self, stop: asyncio.Event, *, started: Callable[[float], None] | None = None) -> None:
        """Start everything, call `started` with the seconds it took, wait for `stop`, stop everything.

        Raises STACK_FAILED where the start failed; by then everything is stopped.
        """
        tasks = [asyncio.create_task(self._supervise(unit)) for unit in self._units]
        tasks += [asyncio.create_task(self._tick_on()), asyncio.create_task(self._lag.run())]
        try:
            await self._first(stop.wait(), self._settled.wait(), self._all_ready())
            if self._failure is None and not stop.is_set():
                seconds = time.monotonic() - self._begun
                self._report.started(seconds)
                if started is not None:
                    started(seconds)
                await stop.wait()
        finally:
            await self._stop_all(tasks)
        if self._failure is not None:
            raise self._failure

    def kill(self) -> None:
        """Kill every part at once; for a second Ctrl-C."""
        for name, child in self._children.items():
            if child.exit_code is None:
                self._report.state.killed.append(name)
                child.kill()

    @staticmethod
    async def _first(*coroutines: Coroutine[Any, Any, object]) -> None:
        waits = [asyncio.create_task(coroutine) for coroutine in coroutines]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(*waits)

    async def _all_ready(self) -> None:
        for ready in self._ready.values():
            await ready.wait()

    async def _supervise(self, unit: Part | Step) -> None:
        try:
            if isinstance(unit, Part) and unit.is_loaded_early:
                # Where that fails, it is started, and fails, once it is its turn.
                with contextlib.suppress(OSError, PlatformError):
                    self._loaded[unit.name] = self._spawn(unit)
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
        words = await step.run()
        self._report.say(step.name, f"done in {time.monotonic() - begun:.2f} s{f'; {words}' if words else ''}")
        self._ready[step.name].set()

    def _fail(self, name: str, error: PlatformError) -> None:
        if self._stopping.is_set() or self._failure is not None:
            return
        self._report.say(name, f"failed: {error}")
        if self._report.state.ready_seconds is None:
            self._failure = error
            self._settled.set()
            return
        # The platform is up: what is left of it goes on, and `status` shows what does not.
        for part in self._parts:
            if part.name == name:
                self._report.change(part, Condition.FAILED, str(error))

    async def _keep(self, part: Part) -> None:
        """Start a part, wait for its end, start it anew."""
        pause, attempts, in_a_row = FIRST_PAUSE_SECONDS, 0, 0
        unsteady: str | None = None
        while not self._stopping.is_set():
            try:
                end, helps, well_seconds = await self._run_once(part, unsteady)
            except StoreGone as error:
                await self._do_without(part, error)
                continue
            if self._stopping.is_set():
                return
            attempts += 1
            if not self._ready[part.name].is_set() and (attempts >= FIRST_ATTEMPTS or not helps):
                raise self._refusal(part, f"{part.name} {end} before it was ready")
            if well_seconds > SETTLED_SECONDS:
                pause, in_a_row, unsteady = FIRST_PAUSE_SECONDS, 0, None
            in_a_row += 1
            self._report.part(part).restarts += 1
            reason = f"{end}; starts again in {pause:.1f} s"
            if in_a_row >= KEEPS_FAILING:
                failed = f"it failed {in_a_row} times in a row{self._last_words(part)}: {_what_to_do(part)}"
                reason += f"; {failed}"
                unsteady = f"{end}, and is up again for less than {SETTLED_SECONDS:.0f} s; {failed}"
            self._report.say(part.name, reason)
            self._report.change(part, Condition.RESTARTING, reason)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if helps else LONGEST_PAUSE_SECONDS

    async def _do_without(self, part: Part, error: StoreGone) -> None:
        """Nothing is made anew where data was: the others go on, and the part does once its store is back."""
        if not self._ready[part.name].is_set() and self._is_needed(part):
            raise error
        reason = f"{error}. {error.hint}"
        if self._report.part(part).reason != reason:
            self._report.say(part.name, f"is not started: {reason}")
        self._report.change(part, Condition.FAILED, reason)
        self._ready[part.name].set()
        await asyncio.sleep(LONGEST_PAUSE_SECONDS)

    async def _run_once(self, part: Part, unsteady: str | None) -> tuple[str, bool, float]:
        """Run a part from its start to its end. `unsteady`: what is said of it until it has been up for long enough.

        How it ended, whether starting anew may help at once, and for how many seconds it was up. Raises StoreGone.
        """
        try:
            if part.open is not None:
                await part.open()
            if self._stopping.is_set():
                return "was not started", True, 0.0
            child = self._start(part)
        except StoreGone:
            raise
        except Exception as error:  # noqa: BLE001  # a part that nobody starts again would be the worst
            # A full disk, say: its configuration cannot be written now, and can be later.
            return f"cannot be started ({error})", True, 0.0
        watch = Watch(
            part,
            child,
            self._report,
            self._lag,
            ready=self._ready[part.name],
            is_needed=self._is_needed(part),
            unsteady=Unsteady(unsteady, SETTLED_SECONDS) if unsteady else None,
            refuse=lambda reason: self._fail(part.name, self._refusal(part, reason)),
        )
        watching = asyncio.create_task(watch.run())
        try:
            code = await child.wait()
        finally:
            await end(watching)
        how = watch.ended_because or f"ended with {_exit_in_words(code)}"
        return how, watch.ended_because is not None or code != EXIT_CONFIGURATION, watch.well_seconds

    def _is_needed(self, part: Part) -> bool:
        return any(part.name in self._needed_by(other) for other in self._parts)

    def _refusal(self, part: Part, message: str) -> PlatformError:
        return PlatformError(
            errors.STACK_FAILED, f"{message}{self._last_words(part)}", part=part.name, log=str(part.log)
        )

    def _last_words(self, part: Part) -> str:
        """What the part has said since this start of it."""
        return last_words(part.log, since=self._log_begins.get(part.name, end_of(part.log)))

    def _start(self, part: Part) -> Child:
        child = self._loaded.pop(part.name, None)
        if child is None or child.exit_code is not None:
            child = self._spawn(part)
        child.begin()
        self._report.change(part, Condition.STARTING, None)
        return child

    def _spawn(self, part: Part) -> Child:
        with contextlib.suppress(OSError):
            rotate(part.log)
        self._log_begins[part.name] = end_of(part.log)
        child = self._children[part.name] = Child.start(part.launch())
        self._report.part(part).process = child.identity
        return child

    async def _stop_all(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        self._stopping.set()
        self._report.change_all(Condition.STOPPING)
        telling = asyncio.create_task(self._tell_what_is_left())
        await asyncio.gather(*(self._stop(part) for part in self._parts))
        # One cancellation may be swallowed by what a task waits for; it would then be waited for for ever.
        await end(*tasks, telling)
        self._report.change_all(Condition.FAILED if self._failure else Condition.STOPPED)

    async def _tell_what_is_left(self) -> None:
        while True:
            await asyncio.sleep(STILL_STOPPING_SECONDS)
            left = [name for name, child in self._children.items() if child.exit_code is None]
            self._say(f"still stopping {', '.join(left)}; once more to kill")

    async def _stop(self, part: Part) -> None:
        for other in self._parts:
            if part.name in self._needed_by(other):
                await self._gone[other.name].wait()
        child = self._children.get(part.name)
        if child is not None and child.exit_code is None:
            self._report.change(part, Condition.STOPPING, None)
            begun = time.monotonic()
            gracefully = await child.stop(
                part.stop_signal, grace_seconds=part.stop_seconds, kill_signal=part.kill_signal
            )
            was_killed = part.name in self._report.state.killed
            how = "killed" if was_killed else "stopped"
            if not gracefully and not was_killed:
                how = f"killed, it did not stop within {part.stop_seconds:.0f} s;"
                self._report.state.killed.append(part.name)
            if child.exit_code is None:
                how = "killed, and its process does not end: it waits for its disk, perhaps (dmesg);"
            self._report.say(part.name, f"{how} in {time.monotonic() - begun:.2f} s")
        self._report.change(part, Condition.STOPPED, None)
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

    async def _tick_on(self) -> None:
        """Cut logs, look at folders, and show that the supervisor lives, again and again, whatever goes wrong in it."""
        while True:
            for part in self._parts:
                self._said_once(part.name, self._cut_log(part))
            try:
                if self._look is None:
                    self._report.tell()
                else:
                    self._report.places(await self._look())
            except Exception as error:  # noqa: BLE001  # a report that nobody writes any more says what is no longer so
                self._said_once("supervisor", f"cannot look at the folders: {type(error).__name__}: {error}")
                self._report.tell()
            else:
                self._said_once("supervisor", None)
            await asyncio.sleep(TICK_SECONDS)

    def _cut_log(self, part: Part) -> str | None:
        """Keep a log short; what is wrong with that."""
        try:
            if rotate(part.log):
                self._log_begins[part.name] = 0
        except OSError as error:
            return f"its log {part.log} cannot be cut: {error.strerror}"
        return None

    def _said_once(self, name: str, words: str | None) -> None:
        """Say what is wrong at each look when it begins, not at each look."""
        if words is not None and words != self._wrong.get(name):
            self._report.say(name, words)
        self._wrong[name] = words


def _what_to_do(part: Part) -> str:
    return f"wedsync-backup logs {part.name} -n 50; docs/operations.md, section 2"


def _exit_in_words(code: int) -> str:
    """`exit code 3`, or the signal that ended it."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code}"
