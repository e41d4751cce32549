"""A worker of a toy kind of work, to be killed.

`python -m tests.support.claim_process DSN SCHEMA NATS_URL SEED_FILE`
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import Claim, Claims, Performer, Trouble
from chassis.claims.table import ClaimTable
from chassis.claims.work import Work
from chassis.life.blocking import RunInterrupted
from chassis.life.health import Health
from chassis.postgres.database import open_pool
from chassis.telemetry.instruments import Telemetry
from contracts.streams import STOP_WORKERS, WAKE_WORKERS

DRILLS = Work(noun="drill", claims="drill_claims", turns="drill_turns", workers="drill_workers")
SILENCE_SECONDS = 1.0
IDENTITY = "executor-worker"


@asynccontextmanager
async def open_table(dsn: str, schema: str) -> AsyncIterator[ClaimTable]:
    """The claims of one worker."""
    async with AsyncExitStack() as stack:
        pools = [open_pool(dsn, schema, name=name, max_size=size) for name, size in (("claims", 2), ("beats", 1))]
        for pool in pools:
            await pool.open(wait=True)
            stack.push_async_callback(pool.close)
        yield ClaimTable(DRILLS, *pools, silence_seconds=SILENCE_SECONDS)


def loop_of(
    claims: Claims,
    performer: Performer,
    connection: Connection,
    worker: str,
    *,
    health: Health | None = None,
    slots: int = 2,
) -> ClaimLoop:
    """A worker."""
    return ClaimLoop(
        noun=DRILLS.noun,
        claims=claims,
        performer=performer,
        connection=connection,
        wake=WAKE_WORKERS,
        stop=STOP_WORKERS,
        worker=worker,
        slots=slots,
        beat_seconds=SILENCE_SECONDS / 10,
        set_aside=SetAside(health or Health(worker), noun=DRILLS.noun),
    )


class Endless:
    """Holds what it has claimed until it is told to stop."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Go on and on."""
        await self._claims.opened(claim)
        while not is_cancelled():
            await asyncio.sleep(0.01)
        raise RunInterrupted

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Release the claim alone: there is no record of the work."""
        await self._claims.release(claim, is_left=is_left)


async def main(dsn: str, schema: str, nats_url: str, seed_file: str) -> None:
    """Hold claims for ever."""
    telemetry, health = Telemetry(IDENTITY), Health(IDENTITY)
    connection = Connection(
        url=nats_url, identity=IDENTITY, telemetry=telemetry, health=health, seed_file=seed_file or None
    )
    await connection.start()
    async with open_table(dsn, schema) as table:
        loop = loop_of(table, Endless(table), connection, "mortal")
        await loop.start()
        await loop.ended()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
