"""`python -m deploy.elsewhere`: makes servers that others run ready for the platform, or brings them up to date.

Promise: the schemas, roles and tables in Postgres, then the streams and consumers in NATS, both idempotent; each server
is verified as the processes verify it, and nothing is made where a setting cannot be right. Passwords of the roles are
the database administrator's to set. The embedded stack does the same at each of its starts. Ends with 4 where dead
letters were lost with their stream, until `--accept-loss`.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chassis.bus.connection import Connection
from chassis.bus.lost_letters import accept_loss, letters_info, loss_of
from chassis.bus.topology import apply
from chassis.clock import SystemClock
from chassis.life import runtime
from chassis.life.health import Health
from chassis.outbox.tables import has_published
from chassis.postgres.connection_string import parsed
from chassis.postgres.database import install_schema
from chassis.postgres.trust import check_trust
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


_DEGRADED = 4
ADMIN_DSN = "WEDSYNC_POSTGRES_ADMIN_DSN"


async def main() -> int:
    """Install everything; the exit code."""
    parser = argparse.ArgumentParser("python -m deploy.elsewhere", description="Make servers of others ready.")
    parser.add_argument("--accept-loss", metavar="REASON", help="dead letters that were lost: it is known, and why")
    arguments = parser.parse_args()
    logging.configure("elsewhere", level="warning")
    settings = load(ElsewhereSettings, os.environ)
    connection = Connection(
        url=settings.nats_url,
        identity=TOPOLOGY,
        telemetry=Telemetry(TOPOLOGY),
        health=Health(TOPOLOGY),
        seed_file=settings.nats_seed_file,
        ca_file=settings.nats_ca_file,
    )
    parsed(settings.postgres_admin_dsn, ADMIN_DSN)
    connection.require_settings()
    await check_trust(settings.postgres_admin_dsn, ADMIN_DSN)
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
    try:
        await connection.start()
        js = connection.client.jetstream()
        changes = await apply(
            js,
            replicas=settings.nats_replicas,
            was_used=lambda: has_published(settings.postgres_admin_dsn, [schema.service for schema in SCHEMAS]),
        )
        if arguments.accept_loss:
            await accept_loss(js, reason=arguments.accept_loss, time=SystemClock().now())
        loss = loss_of(await letters_info(js))
    finally:
        await connection.stop()
    sys.stdout.write(f"nats: streams and consumers as declared, {len(changes)} changed\n")
    if loss is not None:
        sys.stdout.write(f"nats: {loss.message} [{loss.code.code}]\n  Is that known: --accept-loss REASON\n")
        return _DEGRADED
    return 0


if __name__ == "__main__":
    runtime.leave(runtime.run(main))
