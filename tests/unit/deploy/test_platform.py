"""Signals of the supervisor."""

import asyncio
import os
import signal

from deploy.stack.platform import _Signals


def test_hang_up_that_is_ignored_ends_nothing() -> None:
    """`nohup wedsync-backup up` outlives its terminal; without `nohup` the platform stops in order."""

    async def hang_up(*, stops: bool) -> bool:
        stop = asyncio.Event()
        with _Signals(stop, say=lambda _: None):
            os.kill(os.getpid(), signal.SIGHUP)
            if stops:
                await asyncio.wait_for(stop.wait(), 60)
            # The loop takes a signal up in its next turns; one that is ignored never comes.
            for _ in range(10):
                await asyncio.sleep(0)
            return stop.is_set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert not asyncio.run(hang_up(stops=False))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert asyncio.run(hang_up(stops=True))
    finally:
        signal.signal(signal.SIGHUP, before)


def test_second_word_kills_where_it_is_meant_so() -> None:
    """A second Ctrl-C does; a second `down`, by somebody else or a script, waits with the first."""

    async def killed_by(*numbers: int) -> bool:
        stop, killed = asyncio.Event(), asyncio.Event()
        signals = _Signals(stop, say=lambda _: None)
        signals.kill = killed.set
        with signals:
            for number in numbers:
                os.kill(os.getpid(), number)
                await asyncio.wait_for(stop.wait(), 60)
            for _ in range(10):
                await asyncio.sleep(0)
        return killed.is_set()

    term, interrupt = signal.SIGTERM, signal.SIGINT
    assert [asyncio.run(killed_by(*each)) for each in ([term, term], [interrupt, term], [term, term, term])] == [
        False
    ] * 3
    assert [asyncio.run(killed_by(*each)) for each in ([interrupt, interrupt], [term, interrupt])] == [True] * 2
