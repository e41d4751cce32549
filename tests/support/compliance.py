"""An audit log on real parts: tables in Postgres, the streams of all services on NATS."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.postgres.database import open_pool
from chassis.postgres.pool import Pool, PoolPart
from chassis.sealing import prepare_keys_folder
from chassis.telemetry.instruments import Telemetry
from services.compliance.adapters.following import AuditLogFollower
from services.compliance.adapters.log import AuditLogTable
from services.compliance.adapters.schema import STATEMENTS
from services.compliance.adapters.signing import SigningKey
from services.compliance.bootstrap import POOL_CONNECTIONS, SERVICE
from tests.support.gateway import Facts
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess

TABLES = (
    "audit_entries",
    "audit_logs",
    "audit_tiles",
    "audit_checkpoints",
    "audit_streams",
    "audit_signer",
    "audit_generations",
    "audit_openings",
    "audit_restarts",
)


@dataclass
class AuditBench:
    """A log that is followed only when a test says so. `facts`: what the services publish."""

    access: SchemaAccess
    pool: Pool
    connection: Connection
    keys_dir: Path
    facts: Facts
    health: Health = field(default_factory=lambda: Health(SERVICE))

    def log(self) -> AuditLogTable:
        """The log, as a process that has just begun has it."""
        return AuditLogTable(self.pool, SigningKey(self.keys_dir))

    def follower(self, log: Any = None, *, health: Health | None = None) -> AuditLogFollower:
        """One that follows the streams; of each process there is one."""
        return AuditLogFollower(
            log or self.log(),
            nats=lambda: self.connection.client,
            telemetry=Telemetry(SERVICE),
            health=health or Health(SERVICE),
        )

    async def catch_up(self) -> None:
        """Have everything appended that was published."""
        await self.follower().catch_up()

    def copy(self) -> dict[str, list[bytes]]:
        """The tables as they are: what a copy of the database has of them."""
        with self._admin() as admin:
            return {table: list(self._copied(admin, f"COPY {table} TO STDOUT")) for table in TABLES}

    def put_back(self, copy: Mapping[str, Sequence[bytes]]) -> None:
        """Have the tables as they were, below whoever runs."""
        with self._admin() as admin:
            admin.execute("SET session_replication_role = replica")  # what refuses changes is no help here
            for table, lines in copy.items():
                admin.execute(SQL("DELETE FROM {}").format(Identifier(table)))
                with admin.cursor().copy(SQL("COPY {} FROM STDIN").format(Identifier(table))) as into:
                    for line in lines:
                        into.write(line)

    @staticmethod
    def _copied(admin: psycopg.Connection[Any], statement: str) -> Iterator[bytes]:
        with admin.cursor().copy(statement.encode()) as rows:
            yield from map(bytes, rows)

    @contextmanager
    def _admin(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.access.admin_dsn) as admin:
            admin.execute(SQL("SET search_path TO {}").format(Identifier(self.access.schema)))
            yield admin

    def rows(self, statement: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """What a statement finds, as the service's own role."""
        with psycopg.connect(self.access.dsn, autocommit=True) as connection:
            connection.execute(SQL("SET search_path TO {}").format(Identifier(self.access.schema)))
            return connection.execute(statement, values).fetchall()


@asynccontextmanager
async def audit_bench(
    home: Path,
    postgres: PostgresServer,
    nats_server: NatsServer,
    *,
    readers: Mapping[str, Sequence[str]] | None = None,
    facts: Facts | None = None,
) -> AsyncIterator[AuditBench]:
    """Put an audit log together; `facts`: where somebody else publishes already."""
    if facts is None:
        await nats_server.apply()
    keys_dir = home / "audit-keys"
    prepare_keys_folder(keys_dir)
    access = postgres.fresh(statements=STATEMENTS, prefix="compliance", readers=readers)
    pool = open_pool(access.dsn, access.schema, name="test", max_size=POOL_CONNECTIONS)
    connection = nats_server.connection(SERVICE, Telemetry(SERVICE), Health(SERVICE))
    parts = [PoolPart(pool), connection]
    for part in parts:
        await part.start()
    try:
        async with nats_server.connected() as client:
            told = facts or Facts(client.jetstream(timeout=2))
            yield AuditBench(access, pool, connection, keys_dir, told)
    finally:
        for part in reversed(parts):
            await part.stop()
        postgres.drop(access)
