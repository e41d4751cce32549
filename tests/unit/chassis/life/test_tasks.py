"""Ending tasks that do not take a first no, and loops that do not end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from chassis.life.tasks import Supervised, end
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from tests.support.eventually import eventually


async def _stubborn(refusals: int, cancellations: list[int]) -> None:
    """Swallow some cancellations, as `asyncio.wait_for` does in Python 3.11 when its result comes at the same time."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancellations.append(1)
            if len(cancellations) > refusals:
                raise


async def test_end_cancels_until_a_task_has_ended() -> None:
    """A swallowed cancellation does not let a task, and the stop that waits for it, go on for ever."""
    cancellations: list[int] = []
    task = asyncio.create_task(_stubborn(2, cancellations))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await end(task, again_seconds=0.05)
    assert task.cancelled()
    assert len(cancellations) == 3


async def test_end_leaves_results_and_errors_to_the_tasks() -> None:
    """What a task raised is not raised where it is ended; nothing at all is ended at once."""

    async def fail() -> None:
        raise ValueError

    task: asyncio.Task[None] = asyncio.create_task(fail())
    await asyncio.wait({task})
    await end(task)
    await end()
    assert isinstance(task.exception(), ValueError)


class _Turns:
    """What a supervised loop does, turn by turn: raise what is given, or return."""

    def __init__(self, *outcomes: BaseException | None) -> None:
        self.outcomes = list(outcomes)
        self.turns = 0

    async def __call__(self) -> None:
        self.turns += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if outcome is not None:
            raise outcome


@asynccontextmanager
async def _supervised(run: Callable[[], Awaitable[None]], **options: Any) -> AsyncIterator[Supervised]:
    loop = Supervised("claim-loop", run, **{"every_seconds": 0.005, **options})
    await loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


async def test_supervised_loop_goes_on_after_what_nobody_foresaw() -> None:
    """An unexpected error neither ends a loop nor stays when there is progress again; it is counted."""
    telemetry = Telemetry("executor")
    turns = _Turns(ValueError("secret"), KeyError(), None)
    async with _supervised(turns, telemetry=telemetry) as loop:
        await eventually(lambda: turns.turns > 5)
        assert loop.restarts == 2
        assert await loop.check() is None
    assert telemetry.registry.get_sample_value("wedsync_loop_restarts_total", {"loop": "claim-loop"}) == 2


async def test_supervised_loop_says_what_it_met_until_there_is_progress() -> None:
    """Trouble is shown with its kind, its place and what to do, and without the values of the error."""
    turns = _Turns(ValueError("secret"))
    async with _supervised(turns) as loop:
        await eventually(lambda: turns.turns > 2)
        found = await loop.check()
        assert isinstance(found, PlatformError)
        assert "claim-loop broke off" in found.message
        assert "ValueError" in found.message
        assert "secret" not in found.message
        assert found.hint
        turns.outcomes = [None]
        await eventually(_is_well(loop))


def _is_well(loop: Supervised) -> Callable[[], Awaitable[bool]]:
    """Whether the loop's check passes."""

    async def is_well() -> bool:
        return await loop.check() is None

    return is_well


async def test_supervised_loop_outlives_a_cancellation_that_was_not_meant_for_it() -> None:
    """A cancelled future of a library, awaited by the loop, does not end it."""
    turns = _Turns(asyncio.CancelledError(), None)
    async with _supervised(turns) as loop:
        await eventually(lambda: turns.turns > 2)
        assert loop.restarts == 1


async def test_supervised_loop_bears_a_short_outage() -> None:
    """What is away for a moment does not make a process not ready; what stays away does."""
    away = PlatformError(errors.UNAVAILABLE, "postgres did not answer")
    turns = _Turns(away)
    async with _supervised(turns, grace_seconds=60.0) as loop:
        await eventually(lambda: turns.turns > 1)
        assert await loop.check() is None
        assert loop.trouble is away
    async with _supervised(_Turns(away), grace_seconds=0.0) as loop:
        await eventually(lambda: loop.trouble is not None)
        assert await loop.check() is away


async def test_supervised_loop_that_hangs_is_not_ready() -> None:
    """A turn that never comes back is told, too."""

    async def hang() -> None:
        await asyncio.Event().wait()

    async with _supervised(hang, stall_seconds=0.02) as loop:

        async def is_told() -> bool:
            found = await loop.check()
            return isinstance(found, PlatformError) and "no progress" in found.message

        await eventually(is_told)
        loop.progressed()
    assert await loop.check() is not None


async def test_supervised_loop_that_somebody_cancelled_ends_its_process() -> None:
    """There is no way out of a loop in which nobody hears of it."""
    turns = _Turns(None)
    async with _supervised(turns) as loop:
        await eventually(lambda: turns.turns > 1)
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "claim-loop")
        task.cancel()
        async with asyncio.timeout(60):
            assert "not running" in str(await loop.ended())
        assert await loop.check() is not None


async def test_supervised_loop_finishes_its_turn_when_it_is_stopped() -> None:
    """A graceful stop waits for the turn under way, and begins no other."""
    ended: list[bool] = []

    async def turn() -> None:
        while not loop.is_stopping:  # a turn that looks whether it is to stop
            await asyncio.sleep(0.001)
        ended.append(True)

    loop = Supervised("relay", turn)
    await loop.start()
    await asyncio.sleep(0)
    await loop.stop(wait_seconds=5.0)
    assert ended == [True]
