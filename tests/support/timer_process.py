"""A process that fires timers, to be killed: `python -m tests.support.timer_process DSN SCHEMA`."""

import asyncio
import sys

from chassis.ids import new_id
from chassis.life.health import Health
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from chassis.timers.loop import Handler, TimerLoop
from chassis.timers.table import Timer, TimerTable
from tests.support.sample_runs import CONTEXT, SampleRun

KIND = "sample"
HOLD_SECONDS = 1.0


def recording(store: EventStore) -> Handler:
    """Records one event for the timer, under an id of its own each time: a second one would be seen."""

    async def fire(timer: Timer) -> None:
        run = SampleRun(f"{timer.name}.{new_id()}").fail()
        await store.save(run, context=CONTEXT, also=[timer.done()])

    return fire


async def main(dsn: str, schema: str) -> None:
    """Fire for ever."""
    store = EventStore(dsn=dsn, schema=schema, service="executor")
    await store.start()
    pool = open_pool(dsn, schema, name="timers", max_size=2)
    await pool.open(wait=True)
    loop = TimerLoop(
        TimerTable(pool, hold_seconds=HOLD_SECONDS),
        {KIND: recording(store)},
        health=Health("executor"),
        every_seconds=0.02,
    )
    await loop.start()
    await loop.ended()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
