"""`python -m deploy.elsewhere`: makes servers that others run ready for the platform, or brings them up to date.

Promise: the schemas, roles and tables in Postgres, then the streams and consumers in NATS, both idempotent; each server
is verified as the processes verify it. Passwords of the roles are the database administrator's to set. The embedded
stack does the same at each of its starts.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chassis.bus.connection import Connection
from chassis.bus.topology import apply
from chassis.life import runtime
from chassis.life.health import Health
from chassis.postgres.database import install_schema
from chassis.settings import Settings, load
from chassis.telemetry import logging
from chassis.telemetry.instruments import Telemetry
from deploy.nats.permissions import TOPOLOGY
from deploy.postgres.schemas import SCHEMAS


class ElsewhereSettings(Settings, frozen=True, kw_only=True):
    """What `python -m deploy.elsewhere` reads; `nats_seed_file` is that of the identity `topology`."""

    postgres_admin_dsn: Annotated[
        str,
        Meta(min_length=1, description="How the database's administrator, who makes schemas and roles, reaches it."),
    ]
    nats_url: Annotated[str, Meta(min_length=1, description="As for the services.")]
    nats_seed_file: Annotated[Path, Meta(description="File with the nkey seed of the identity `topology`.")]
    nats_ca_file: Annotated[Path | None, Meta(description="As for the services.")] = None
    nats_replicas: Annotated[int, Meta(ge=1, le=5, description="Copies of each stream: 3 where NATS is a cluster.")] = 1


async def main() -> int:
    """Install everything; the exit code."""
    logging.configure("elsewhere", level="warning")
    settings = load(ElsewhereSettings, os.environ)
    for schema in SCHEMAS:
        await asyncio.to_thread(
            install_schema,
            settings.postgres_admin_dsn,
            service=schema.service,
            role=schema.role,
            password=None,
            statements=schema.statements(),
        )
        sys.stdout.write(f"postgres: the schema {schema.service} for the role {schema.role}\n")
    connection = Connection(
        url=settings.nats_url,
        identity=TOPOLOGY,
        telemetry=Telemetry(TOPOLOGY),
        health=Health(TOPOLOGY),
        seed_file=settings.nats_seed_file,
        ca_file=settings.nats_ca_file,
    )
    try:
        await connection.start()
        changes = await apply(connection.client.jetstream(), replicas=settings.nats_replicas)
    finally:
        await connection.stop()
    sys.stdout.write(f"nats: streams and consumers as declared, {len(changes)} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(runtime.run(main))
