"""Starts Postgres on a record that was brought back, to see that it starts and up to where it goes."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.settings import ADMIN_ROLE, DATABASE, SETTINGS
from deploy.stack.account import database_account
from deploy.stack.child import OPEN_FOLDER, Child, Launch
from deploy.stack.logs import last_words
from deploy.stack.own_backup.memory import Position
from deploy.stack.own_backup.positions import positions_of
from deploy.stack.part import SERVER_STOP_SECONDS
from deploy.stack.ports import LOOPBACK, Reserved, choose_ports
from deploy.stack.programs import PostgresPrograms

START_SECONDS = 600.0
"""It plays the log that was written during the backup, and no more."""
POLL_SECONDS = 0.1


def positions_in(folder: Path, password: str, *, owner: str, log: Path) -> list[Position]:
    """Start the server on a data folder, ask it, stop it. Raises STACK_FAILED where it does not start.

    `owner`: tells copies of Postgres's programs from another platform's.
    """

    async def ask() -> list[Position]:
        async with served(folder, password, owner=owner, log=log) as (server, dsn):
            return await _positions(server, dsn, log)

    return asyncio.run(ask())


@asynccontextmanager
async def served(folder: Path, password: str, *, owner: str, log: Path) -> AsyncIterator[tuple[Child, str]]:
    """A server on a data folder, which may still be starting, and the administrator's connection string to it."""
    with PostgresPrograms(database_account(os.environ), owner=owner) as programs, Reserved() as reserved:
        port = choose_ports(["postgres"], {}, is_free=reserved.take)["postgres"]
        settings = {**SETTINGS, "port": str(port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        server = Child.start(
            Launch(
                argv=(str(programs.folder() / "postgres"), "-D", OPEN_FOLDER, *options),
                environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"},
                folder=folder,
                log=log,
                account=database_account(os.environ),
                open_folder=folder,
                death_signal=signal.SIGINT,
            )
        )
        try:
            yield server, f"postgresql://{ADMIN_ROLE}:{password}@{LOOPBACK}:{port}/{DATABASE}"
        finally:
            await server.stop(signal.SIGINT, grace_seconds=SERVER_STOP_SECONDS, kill_signal=signal.SIGQUIT)


async def _positions(server: Child, dsn: str, log: Path) -> list[Position]:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return await asyncio.to_thread(positions_of, dsn)
        except PlatformError as error:
            if server.exit_code is None and time.monotonic() < until:
                await asyncio.sleep(POLL_SECONDS)
                continue
            raise PlatformError(
                errors.STACK_FAILED,
                f"Postgres does not start on the record that was brought back{last_words(log, since=0)}",
                hint="Take an older snapshot (--snapshot), or another tier (--tier).",
            ) from error
