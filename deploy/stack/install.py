"""What `wedsync-backup up` installs with the administrator's rights: the database, schemas and roles, the topology.

Everything is idempotent and runs at each start, so that a new build brings its tables along and a lost
store of NATS gets its streams again (empty: filling them takes `wedsync-backup refill`; dead letters do not come back,
which is told).
"""

import asyncio
from collections.abc import Awaitable, Callable

from deploy.postgres.schemas import ROLES, SCHEMAS, ServiceSchema
from deploy.postgres.settings import DATABASE
from deploy.stack import nats, postgres
from deploy.stack.layout import Layout
from deploy.stack.part import Step
from deploy.stack.secrets import Secrets

DATABASE_STEP = "database"
TOPOLOGY_STEP = "topology"


def schema_step_name(service: str) -> str:
    """The name of the step that installs a service's schema and role."""
    return f"schema-{service}"


def install_steps(layout: Layout, secrets: Secrets) -> list[Step]:
    """The steps, each with what must be ready before it."""

    async def make_database() -> None:
        await asyncio.to_thread(_make_database, layout, secrets)

    def installer(schema: ServiceSchema) -> Callable[[], Awaitable[None]]:
        async def install() -> None:
            await asyncio.to_thread(_install, layout, secrets, schema)

        return install

    async def apply_topology() -> str | None:
        async with nats.topology_connection(layout) as client:
            lost = [str(each) for each in await nats.apply_topology(layout, client) if each.is_lost]
        return "; ".join(lost) or None

    return [
        Step(name=DATABASE_STEP, run=make_database, needs=(postgres.NAME,)),
        *(
            Step(name=schema_step_name(schema.service), run=installer(schema), needs=(DATABASE_STEP,))
            for schema in SCHEMAS
        ),
        # Whether a stream that is not there was lost stands in the record.
        Step(name=TOPOLOGY_STEP, run=apply_topology, needs=(nats.NAME, *map(schema_step_name, ROLES))),
    ]


def _make_database(layout: Layout, secrets: Secrets) -> None:
    import psycopg
    from psycopg.sql import SQL, Identifier

    from chassis.postgres.database import translated

    dsn = postgres.admin_dsn(layout, secrets, database="postgres")
    with translated(), psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        # The server's own database is nobody's to look into but the administrator's.
        connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(DATABASE)))
        connection.execute(SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(Identifier(DATABASE)))


def _install(layout: Layout, secrets: Secrets, schema: ServiceSchema) -> None:
    from chassis.postgres.database import install_schema

    install_schema(
        postgres.admin_dsn(layout, secrets),
        service=schema.service,
        role=schema.role,
        password=secrets.postgres_roles[schema.role],
        statements=schema.statements(),
        readers=schema.readers(),
    )
