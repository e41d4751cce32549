"""Where the executor's two processes are put together."""

import os
import socket

from chassis.bus import Bus
from chassis.clock import SystemClock
from chassis.connection import Connection
from chassis.eventstore import EventStore
from chassis.health import Health, HealthServer
from chassis.key_checks import add_key_checks
from chassis.locations import Locations
from chassis.outbox import Relay
from chassis.pool import PoolPart
from chassis.postgres import open_pool
from chassis.runtime import run_service
from chassis.sealing import Sealer
from chassis.settings import ServiceSettings
from chassis.telemetry import Telemetry
from chassis.topology import TopologyCheck
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.data_plane import RepositoryDataPlane
from services.executor.adapters.progress import NatsProgress
from services.executor.adapters.runs import RecordedRuns
from services.executor.adapters.tables import BEAT_SECONDS, ClaimTable, ReplicaTable, SealedReports
from services.executor.adapters.tier_watch import TierWatch
from services.executor.application import BackupDecisions, ConfigurationCopies
from services.executor.claim_loop import ClaimLoop
from services.executor.handlers import Handlers
from services.executor.performance import RunPerformance
from services.executor.settings import ExecutorSettings, WorkerSettings

SERVICE = "executor"
WORKER_IDENTITY = "executor-worker"


def _connection(settings: ServiceSettings, identity: str, telemetry: Telemetry, health: Health) -> Connection:
    return Connection(
        url=settings.nats_url,
        identity=identity,
        telemetry=telemetry,
        health=health,
        seed_file=str(settings.nats_seed_file) if settings.nats_seed_file else None,
    )


async def run(settings: ExecutorSettings) -> int:
    """The deciding process: answers requests, keeps copies of configurations, publishes the record; the exit code."""
    telemetry = Telemetry(SERVICE, otlp_endpoint=settings.otel_endpoint)
    health = Health(SERVICE)
    connection = _connection(settings, SERVICE, telemetry, health)
    store = EventStore(dsn=settings.postgres_dsn, schema=settings.postgres_schema, service=SERVICE)
    pool = open_pool(settings.postgres_dsn, settings.postgres_schema, name="executor", max_size=2)
    relay = Relay(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        nats=connection,
        owner=SERVICE,
        telemetry=telemetry,
    )
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    replicas = ReplicaTable(pool, store)
    Handlers(BackupDecisions(RecordedRuns(store), replicas), ConfigurationCopies(replicas)).bind(bus)
    topology = TopologyCheck(connection, SERVICE)
    server = HealthServer(health, telemetry, port=settings.health_port)
    return await run_service([server, store, PoolPart(pool), connection, topology, relay, bus], health=health)


async def run_worker(settings: WorkerSettings) -> int:
    """A worker process: claims runs and performs them; the exit code."""
    telemetry = Telemetry(WORKER_IDENTITY, otlp_endpoint=settings.otel_endpoint)
    health = Health(WORKER_IDENTITY)
    connection = _connection(settings, WORKER_IDENTITY, telemetry, health)
    store = EventStore(dsn=settings.postgres_dsn, schema=settings.postgres_schema, service=SERVICE)
    pool = open_pool(
        settings.postgres_dsn, settings.postgres_schema, name="executor-worker", max_size=settings.worker_slots + 2
    )
    # The gateway makes an organisation's keys, before anything of it can come here.
    sealer = Sealer(settings.keys_dir, may_make=False)
    add_key_checks(health, sealer)
    claims, begun, locations = ClaimTable(pool), BegunRepositories(pool), Locations(settings.locations_file)
    performance = RunPerformance(
        runs=RecordedRuns(store),
        configurations=ReplicaTable(pool, store),
        claims=claims,
        data_plane=RepositoryDataPlane(
            locations=locations,
            sealer=sealer,
            keys_dir=settings.keys_dir,
            excluded_folders=settings.excluded_folders,
            memory_bytes=settings.worker_memory_mb * 1024 * 1024 // settings.worker_slots,
            begun=begun,
            tier_reserve_bytes=settings.tier_reserve_mb << 20,
        ),
        reports=SealedReports(pool, sealer),
        progress=NatsProgress(connection, SystemClock()),
    )
    watch = TierWatch(
        locations=locations,
        keys_dir=settings.keys_dir,
        begun_at=begun.at,
        reserve_bytes=settings.tier_reserve_mb << 20,
        health=health,
        telemetry=telemetry,
    )
    loop = ClaimLoop(
        claims=claims,
        performance=performance,
        connection=connection,
        worker=settings.worker_name or f"{socket.gethostname()}:{os.getpid()}",
        slots=settings.worker_slots,
        beat_seconds=BEAT_SECONDS,
    )
    server = HealthServer(health, telemetry, port=settings.health_port)
    return await run_service([server, store, PoolPart(pool), connection, watch, loop], health=health)
