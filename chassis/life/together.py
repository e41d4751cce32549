"""Several services in one process: each with its own settings, identity, connections, health report and log lines.

Promise: they live and end together. A signal stops all of them; one that ends by itself has the others stopped, and the
process ends with its code, for the supervisor to start all anew. None sees another's settings.

It saves what every process of ours loads a second time (ADR 0091). It is for small services beside each other on one
machine; each is started as a process of its own all the same wherever memory is no matter.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import copy_context
from typing import Any

from chassis.life.runtime import ENVIRONMENT, STOPS

Main = Callable[[], Coroutine[Any, Any, int]]
_LOOK_SECONDS = 0.1


async def together(first: Main, others: Sequence[tuple[Main, Mapping[str, str]]]) -> int:
    """Run services until one of them ends, then stop all; the exit code of the one that ended first.

    `first` reads the settings of the process, each of the `others` those beside it. What the one that ended raised is
    raised.
    """
    tasks = [asyncio.create_task(first())]
    for main, environment in others:
        context = copy_context()
        context.run(ENVIRONMENT.set, environment)
        tasks.append(asyncio.create_task(main(), context=context))
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    ended = next(task for task in tasks if task in done)
    while rest:
        # One that still reads its settings has nothing yet that could be told to stop.
        for stop in STOPS:
            stop.set()
        _, rest = await asyncio.wait(rest, timeout=_LOOK_SECONDS)
    codes = [task.result() for task in tasks if task is not ended and task.exception() is None]
    return ended.result() or max(codes, default=0)
