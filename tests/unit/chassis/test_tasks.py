"""Ending tasks that do not take a first no."""

import asyncio

from chassis.runtime import Background
from chassis.tasks import end


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
    async with asyncio.timeout(5):
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


async def test_background_part_stops_although_it_swallows_a_cancellation() -> None:
    """A part's stop does not hang on a client library."""
    cancellations: list[int] = []
    part = Background("stubborn", lambda: _stubborn(1, cancellations))
    await part.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await part.stop()
    assert len(cancellations) == 2
