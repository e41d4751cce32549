"""A Postgres and its warm standby, both of the wheel's programs, made as an operator makes them."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from sources.postgres.database import Database
from sources.postgres.standby.server import Server
from tests.support.postgres_server import PostgresServer, as_nobody, program

SETTINGS = ("wal_level=replica", "fsync=off", "autovacuum=off", "wal_keep_size=256MB", "max_wal_senders=6")


class Pair:
    """A primary with an application's database `shop`, and its standby."""

    def __init__(self, folder: Path, settings: Sequence[str]) -> None:
        self.folder = folder
        self.primary = PostgresServer(folder / "first", settings)
        self.primary.create()
        self.primary.start()
        ask(self.primary, "CREATE DATABASE shop")
        ask(self.primary, "CREATE TABLE sold (id bigint PRIMARY KEY)", "shop")
        self.standby = PostgresServer(folder / "second", settings, password=self.primary.password)
        self.follow()

    def follow(self) -> None:
        """Make the standby of the primary, and wait until it streams."""
        self.standby.folder.mkdir(mode=0o777)
        self.standby.folder.chmod(0o777)
        target = str(self.standby.folder / "cluster")
        dsn = f"{self.primary.admin_dsn} application_name=second"
        command = [program("pg_basebackup"), "-D", target, "-R", "-c", "fast", "-X", "stream", "-d", dsn, "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **as_nobody())
        self.standby.start()

    def close(self) -> None:
        """Stop both."""
        self.standby.stop(signal.SIGQUIT)
        self.primary.stop(signal.SIGQUIT)


def server_of(server: PostgresServer, database: str = "shop") -> Server:
    """It, as the platform knows it."""
    return Server(Database(f"postgres://postgres@127.0.0.1:{server.port}/{database}", lambda: server.password))


def ask(server: PostgresServer, statement: LiteralString, database: str = "postgres") -> list[Any]:
    """What a statement gives there."""
    with psycopg.connect(server.admin_dsn, dbname=database, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def standing_pair(settings: Sequence[str] = SETTINGS) -> Iterator[Pair]:
    """A pair of one's own, gone with its data afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="wedsync-pair-"))
    folder.chmod(0o755)
    pair = None
    try:
        pair = Pair(folder, settings)
        yield pair
    finally:
        if pair is not None:
            pair.close()
        shutil.rmtree(folder, ignore_errors=True)
