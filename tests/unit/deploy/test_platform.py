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
