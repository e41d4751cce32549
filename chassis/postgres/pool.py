"""A pool of Postgres connections as a part of a process."""

from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from chassis.postgres.database import translated
from contracts.errors import PlatformError

Pool = AsyncConnectionPool[AsyncConnection[Any]]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 2.0


class PoolPart:
    """Opens a pool on start and closes it on stop (see `chassis.life.runtime`). Each pool has a name of its own."""

    def __init__(self, pool: Pool, *, name: str = "postgres") -> None:
        self.pool = pool
        self.name = name

    async def start(self) -> None:
        """Connect. Raises UNAVAILABLE where Postgres does not answer in time."""
        with translated():
            await self.pool.open(wait=True, timeout=CONNECT_SECONDS)

    async def stop(self) -> None:
        """Close the connections."""
        await self.pool.close()

    async def check(self) -> PlatformError | str | None:
        """UNAVAILABLE while Postgres does not answer."""
        try:
            with translated():
                async with self.pool.connection(timeout=ANSWER_SECONDS) as connection:
                    await connection.execute("SELECT 1")
        except PlatformError as error:
            return error
        return None
