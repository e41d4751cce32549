"""The embedded Postgres: the cluster is made at the first start, by an account that is not root.

Postgres refuses to run as root, and that account usually cannot pass the folders above the home. Nothing
is opened for it: the data folder is handed to it as an open descriptor, and only the programs, which
hold no secret, are copied where they lie below a closed folder (`deploy.stack.programs`).
"""

import asyncio
import os
import shutil
import signal
import struct
from pathlib import Path

from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.settings import ADMIN_ROLE, DATABASE, SETTINGS
from deploy.stack.account import Account
from deploy.stack.child import OPEN_FOLDER, OPEN_SECRET, Child, Launch
from deploy.stack.layout import Layout
from deploy.stack.logs import last_lines
from deploy.stack.part import Part, Step
from deploy.stack.ports import LOOPBACK
from deploy.stack.probes import TIMEOUT_SECONDS, Probe, Trouble, silent
from deploy.stack.programs import PostgresPrograms
from deploy.stack.secrets import Secrets

CLUSTER = "postgres-cluster"
NAME = "postgres"

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
_PROTOCOL = 196_608
_INITDB_SECONDS = 120.0


def postgres_units(
    layout: Layout, secrets: Secrets, account: Account | None, programs: PostgresPrograms
) -> tuple[Step, Part]:
    """The step that makes the cluster, and the server. `programs`: of that account."""

    async def make_cluster() -> None:
        await _make_cluster(layout, secrets, account, await asyncio.to_thread(programs.folder))

    def launch() -> Launch:
        settings = {**SETTINGS, "port": str(layout.port(NAME))}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            argv=(str(programs.folder() / "postgres"), "-D", OPEN_FOLDER, *options),
            environment=_ENVIRONMENT,
            folder=layout.postgres_data,
            log=layout.log(NAME),
            account=account,
            open_folder=layout.postgres_data,
            # Fast shutdown: clients are cut off, nothing has to be recovered at the next start.
            death_signal=signal.SIGINT,
        )

    return (
        Step(name=CLUSTER, run=make_cluster),
        Part(
            name=NAME,
            launch=launch,
            probe=postgres_ready(layout.port(NAME)),
            log=layout.log(NAME),
            needs=(CLUSTER,),
            ports={"sql": layout.port(NAME)},
            stop_signal=signal.SIGINT,
            stop_seconds=30.0,
        ),
    )


def admin_dsn(layout: Layout, secrets: Secrets, database: str = DATABASE) -> str:
    """The administrator's connection string. It holds a password: not for logs."""
    return dsn(layout, role=ADMIN_ROLE, password=secrets.postgres_admin, database=database)


def dsn(layout: Layout, *, role: str, password: str, database: str = DATABASE) -> str:
    """A role's connection string. It holds a password: not for logs."""
    return f"postgresql://{role}:{password}@{LOOPBACK}:{layout.port(NAME)}/{database}"


async def _make_cluster(layout: Layout, secrets: Secrets, account: Account | None, programs: Path) -> None:
    """Run initdb beside the final place and move the result there: a crash in between leaves no half cluster."""
    if layout.postgres_data.exists():
        return
    draft = layout.postgres_data.with_name("postgres.new")
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    if account is not None:
        os.chown(draft, account.uid, account.gid)
    log = layout.log(CLUSTER)
    child = Child.start(
        Launch(
            argv=(
                str(programs / "initdb"), "-D", OPEN_FOLDER, "-U", ADMIN_ROLE, f"--pwfile={OPEN_SECRET}",
                "--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
                "--data-checksums",
            ),
            environment=_ENVIRONMENT,
            folder=draft,
            log=log,
            account=account,
            open_folder=draft,
            secret=f"{secrets.postgres_admin}\n".encode(),
        )
    )  # fmt: skip
    try:
        code = await asyncio.wait_for(child.wait(), _INITDB_SECONDS)
    finally:
        child.kill()
    if code != 0:
        tail = " | ".join(last_lines(log, 3))
        raise PlatformError(errors.STACK_FAILED, f"initdb ended with {code}: {tail}", part=CLUSTER, log=str(log))
    draft.rename(layout.postgres_data)


def postgres_ready(port: int) -> Probe:
    """Ready when the server asks for the password instead of saying that it is starting; no connection is opened."""
    names = b"".join(word.encode() + b"\0" for word in ("user", ADMIN_ROLE, "database", "postgres"))
    packet = struct.pack("!ii", len(names) + 9, _PROTOCOL) + names + b"\0"

    async def probe() -> Trouble | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                try:
                    writer.write(packet)
                    await writer.drain()
                    kind = await reader.readexactly(1)
                    if kind == b"R":
                        return None
                    answer = await reader.read(1024)
                finally:
                    writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return silent(error)
        return Trouble(_message_of(answer))

    return probe


def _message_of(answer: bytes) -> str:
    """The message field of an error response."""
    fields = answer[4:].split(b"\0")
    return next((field[1:].decode(errors="replace") for field in fields if field[:1] == b"M"), "answers an error")
