"""Calls that may hang in the kernel, made by threads of their own so that who asks is not held.

A disk that dies, a volume that is frozen and a share whose server is gone hold whoever touches them, and no signal gets
them out. The threads are few, kept for the next call, and end by themselves.
"""

import queue
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

T = TypeVar("T")

SILENT_SECONDS: Final = 90.0
"""So long one step of the disk may take. To sync the packs that are under way takes a slow one half a minute."""
_IDLE_SECONDS = 10.0
_LOOKS = 9
"""How often in that time it is looked whether a step came to its end."""


class Silent(Exception):
    """A call takes too long, or one that was made before still hangs."""


class GivenUp(OSError):
    """Nobody waits for this call any more."""


class Abandoned(Exception):
    """Somebody else goes on with the work that a disk held up: whoever did it does nothing more."""


class Call:
    """One call. `step` is told before each of its steps.

    `work_of`: it is work that asks the disk of these hands now and then. While it `rests` from that it may take as long
    as it does.
    """

    def __init__(self, ask: Callable[[], Any], *, work_of: "Hands | None" = None) -> None:
        self._ask = ask
        self.work_of = work_of
        self.rests = work_of is not None
        self._lock = threading.Lock()
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.steps = 0
        self._is_given_up = False

    def step(self) -> None:
        """Raise `GivenUp` where nobody waits any more: what was to be written may be something else by now."""
        with self._lock:
            self.steps += 1
            if self._is_given_up:
                raise GivenUp

    def during(self, ask: Callable[[], T]) -> T:
        """What `ask` returns or raises, which asks the disk. Raises `Abandoned`."""
        self._turn(rests=False)
        try:
            return ask()
        finally:
            self._turn(rests=True)

    def _turn(self, *, rests: bool) -> None:
        with self._lock:
            self.steps += 1
            self.rests = rests
            if self._is_given_up:
                raise Abandoned

    def give_up(self, steps: int | None = None) -> bool:
        """Have it take no further step; False where it is done after all, or has gone on since so many steps."""
        with self._lock:
            has_gone_on = steps is not None and (self.rests or self.steps != steps)
            self._is_given_up = not has_gone_on and not self.done.is_set()
            return self._is_given_up

    def make(self) -> None:
        """Make it, here."""
        token = _CURRENT.set(self)
        try:
            self.result = self._ask()
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            self.error = error
        finally:
            _CURRENT.reset(token)
            with self._lock:
                self.done.set()


_CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def step() -> None:
    """The call that is made here goes on to its next step. Raises `GivenUp` where nobody waits for it any more."""
    if (call := _CURRENT.get()) is not None:
        call.step()


class Hands:
    """The threads of one disk. While one of them hangs all others are refused, too: they would only join it."""

    def __init__(self, name: str, *, seconds: float = SILENT_SECONDS) -> None:
        self._name = name
        self._seconds = seconds
        self._lock = threading.Lock()
        self._free: list[queue.SimpleQueue[Call | None]] = []
        self._hanging: set[Call] = set()

    @property
    def hang(self) -> bool:
        """Whether a call that was given up has not come back."""
        return bool(self._hanging)

    def do(self, ask: Callable[[], T]) -> T:
        """What `ask` returns or raises. Raises `Silent` where one of its steps takes too long."""
        work = _CURRENT.get()
        if work is None or work.work_of is not self:
            result: T = self._made(Call(ask))
            return result
        if self._hanging:
            raise Silent
        return work.during(ask)

    def work(self, work: Callable[[], None]) -> None:
        """Have a hand do `work`, and raise what it raises. What it asks this disk (`do`) needs no other hand.

        Raises `Silent` where a step of that takes too long; as soon as it comes back it raises `Abandoned` in `work`.
        """
        self._made(Call(work, work_of=self))

    def _made(self, call: Call) -> Any:
        if self._hanging:
            raise Silent
        with self._lock:
            hand = self._free.pop() if self._free else None
        if hand is None:
            hand = queue.SimpleQueue()
            threading.Thread(target=self._serve, args=(hand,), name=f"disk-{self._name}", daemon=True).start()
        hand.put(call)
        try:
            self._wait(call)
        except Silent:
            if call.give_up():
                self._hanging.add(call)
                if call.done.is_set():  # just before that was noted
                    self._hanging.discard(call)
            raise
        except BaseException:
            # Ctrl-C says nothing about the disk: who cleans up afterwards is served, and what is owed is synced.
            call.give_up()
            raise
        error, call.error = call.error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback leads here: that would be a circle
        return call.result

    def close(self) -> None:
        """Let the threads go that have nothing to do."""
        with self._lock:
            free, self._free = self._free, []
        for hand in free:
            hand.put(None)

    def _wait(self, call: Call) -> None:
        """Until the call is done. Raises `Silent`."""
        steps, since = 0, time.monotonic()
        while not call.done.wait(self._seconds / _LOOKS):
            if call.rests or call.steps != steps:
                steps, since = call.steps, time.monotonic()
            elif time.monotonic() - since >= self._seconds and call.give_up(steps):
                raise Silent

    def _serve(self, hand: "queue.SimpleQueue[Call | None]") -> None:
        while True:
            try:
                call = hand.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if hand in self._free:
                        self._free.remove(hand)
                        return
                continue  # it was given work at this very moment
            if call is None:
                return
            call.make()
            self._hanging.discard(call)
            del call
            with self._lock:
                self._free.append(hand)
