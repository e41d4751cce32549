"""A relay in a process of its own, to be killed: `python -m tests.support.relay_process DSN SCHEMA URL SEED`."""

import asyncio
import sys

from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.outbox.relay import Relay
from chassis.telemetry.instruments import Telemetry


async def main(dsn: str, schema: str, url: str, seed: str) -> None:
    """Follow the log for ever."""
    telemetry = Telemetry("executor")
    connection = Connection(
        url=url, identity="executor", telemetry=telemetry, health=Health("executor"), seed_file=seed
    )
    await connection.start()
    relay = Relay(dsn=dsn, schema=schema, nats=connection, owner="executor", telemetry=telemetry, window=64)
    await relay.start()
    await relay.ended()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
