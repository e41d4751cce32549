"""Runs whose source is a database, on a real server of Postgres."""

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from contracts.configuration import Destination
from contracts.executor_events import BackupCompleted, BackupFailed
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

LOCAL = Destination(location="local", required=True)


class Shop:
    """A bench with a database, registered as the source `shop`, and its user."""

    def __init__(self, bench: ExecutorBench, server: PostgresServer) -> None:
        self.bench = bench
        self.server = server
        self.name = f"shop_{secrets.token_hex(4)}"
        (bench.keys / "credentials").mkdir()
        self.credentials = bench.keys / "credentials" / "shop.json"
        self.credentials.write_text(json.dumps({"password": "pw", "user": self.name}))
        path = bench.home / "locations.json"
        registry: dict[str, Any] = json.loads(path.read_bytes())
        entry = {"name": "shop", "kind": "postgres", "roles": ["source"], "organisations": ["*"], "credentials": "shop"}
        registry["locations"].append({**entry, "url": f"postgres://127.0.0.1:{server.port}/{self.name}"})
        path.write_text(json.dumps(registry))
        self.do("CREATE ROLE {0} LOGIN PASSWORD 'pw'", database="postgres")
        self.do("CREATE DATABASE {0}", database="postgres")
        self.do("CREATE TABLE orders AS SELECT n, md5(n::text) FROM generate_series(1, 2000) n")

    def do(self, statement: Any, *, database: str = "") -> None:
        dsn = self.server.admin_dsn
        with psycopg.connect(dsn, dbname=database or self.name, autocommit=True) as connection:
            connection.execute(SQL(statement).format(Identifier(self.name)))

    async def ended(self, run: str) -> Any:
        await self.bench.request(run)
        await perform_next(self.bench)
        return (await self.bench.told(run))[-1]


@pytest.fixture
async def shop(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[Shop]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        made = Shop(bench, postgres)
        yield made
        made.do("DROP DATABASE {0} WITH (FORCE)", database="postgres")
        made.do("DROP ROLE {0}", database="postgres")


async def test_database_is_backed_up_once_it_may_be_read(shop: Shop) -> None:
    """A missing right, a part of a database and a password that is not there end the run before anything is written."""
    await shop.bench.configure(database="shop", local=LOCAL)
    denied = await shop.ended("run-1")
    assert isinstance(denied, BackupFailed)
    assert not shop.bench.tier("local").exists()
    shop.do("GRANT pg_read_all_data TO {0}")
    done = await shop.ended("run-2")
    assert isinstance(done, BackupCompleted)
    assert (done.degraded, done.totals.files) == (False, 8)
    await shop.bench.configure(database="shop", path="public", version=2, local=LOCAL)
    part = await shop.ended("run-3")
    await shop.bench.configure(database="shop", version=3, local=LOCAL)
    shop.credentials.unlink()
    lacking = await shop.ended("run-4")
    codes = [each.code for each in (denied, part, lacking)]
    assert codes == ["source-unreachable", "path-outside-location", "location-unusable"]
