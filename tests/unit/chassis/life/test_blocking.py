"""Blocking calls of runs: made in threads, left behind where they do not end."""

import asyncio
import subprocess
import sys
import threading

import pytest

from chassis.life.blocking import NoAnswer, RunInterrupted, call_in_thread
from tests.support.eventually import eventually


async def test_call_gives_its_result_or_raises_what_it_raises() -> None:
    """Whoever waits is told either way."""
    assert await call_in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await call_in_thread(lambda: 1 // 0)


async def test_call_that_ends_by_an_empty_iterator_is_told() -> None:
    """A future refuses this one exception: it must not be the one that is never told."""
    with pytest.raises(RuntimeError):
        async with asyncio.timeout(10):
            await call_in_thread(lambda: next(iter(())))


async def test_cancelled_call_that_ends_soon_is_not_left() -> None:
    """A call that looks at the cancellation itself has the last word."""
    cancelled = threading.Event()
    cancelled.set()
    assert await call_in_thread(lambda: 7, is_cancelled=cancelled.is_set) == 7


async def test_cancelled_call_that_does_not_end_is_left_and_its_result_discarded() -> None:
    """What it opened after all is closed, by its own thread."""
    answers, discarded = threading.Event(), list[int]()

    def call() -> int:
        answers.wait(60)
        return 7

    with pytest.raises(RunInterrupted):
        await call_in_thread(call, is_cancelled=lambda: True, discard=discarded.append, leave_seconds=0.0)
    assert not discarded
    answers.set()
    await eventually(lambda: discarded == [7])


async def test_call_whose_time_is_over_is_left_and_its_result_discarded() -> None:
    """Nobody waits for ever for a disk that hangs."""
    answers, discarded = threading.Event(), list[int]()

    def call() -> int:
        answers.wait(60)
        return 7

    with pytest.raises(NoAnswer):
        await call_in_thread(call, is_overdue=lambda: True, discard=discarded.append)
    answers.set()
    await eventually(lambda: discarded == [7])


def test_process_ends_though_a_call_was_left_in_a_thread_that_does_not() -> None:
    """The code is the one that was asked for; nobody waits for the tier."""
    program = (
        "import threading; from chassis.life.runtime import leave;"
        " threading.Thread(target=threading.Event().wait).start(); leave(3)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 3
