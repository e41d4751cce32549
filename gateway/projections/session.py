"""The session of a process that alone may do something: it ends when the process falls silent, and the lock with it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from psycopg.sql import SQL, Identifier, Literal

from chassis.life.tasks import end
from gateway.projections.applied import Database

T = TypeVar("T")

SILENCE_SECONDS = 15
"""So long may it be silent. A process that hangs keeps its session otherwise, since its machine answers for it."""


async def end_when_silent(database: Database) -> None:
    """Have Postgres end this session once nothing was heard of it for `SILENCE_SECONDS`."""
    for setting in ("idle_session_timeout", "idle_in_transaction_session_timeout"):
        await database.execute(SQL("SET {} = {}").format(Identifier(setting), Literal(f"{SILENCE_SECONDS}s")))


async def heard_while(database: Database, waiting: Coroutine[Any, Any, T]) -> T:
    """What is waited for, however long it takes (a long stream is looked through): the session is used meanwhile."""
    task = asyncio.create_task(waiting)
    try:
        while not (await asyncio.wait({task}, timeout=SILENCE_SECONDS / 3))[0]:
            await database.execute("SELECT 1")
        return task.result()
    finally:
        await end(task)
