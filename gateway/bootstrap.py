"""Where the gateway is put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from prometheus_client import Gauge

from chassis.bus.connection import Connection
from chassis.bus.topology import TopologyCheck
from chassis.clock import SystemClock
from chassis.ids import TimeOrderedIds
from chassis.key_checks import add_key_checks, add_key_figures, add_keys_of_tenants
from chassis.life.health import Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.life.tasks import Supervised
from chassis.locations import Locations
from chassis.outbox.relay import Relay
from chassis.own_folders import OwnFolders
from chassis.postgres.database import open_pool
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.sealing import Sealer
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from gateway.app import create_app
from gateway.auth.denials import DenialLog
from gateway.auth.jwks import KeySet
from gateway.auth.rate_limit import Rate, TokenBuckets
from gateway.auth.tokens import TokenRules, TokenVerifier
from gateway.groups.disaster_recovery.chosen import PointAnswers
from gateway.groups.executions import status
from gateway.groups.recovery.figures import RecoveryFigures
from gateway.monitoring.feed import FactFeed
from gateway.monitoring.live_progress import LiveProgress
from gateway.monitoring.monitor import Monitor
from gateway.monitoring.status_board import StatusBoard
from gateway.monitoring.tickets import Tickets
from gateway.parts import Gateway
from gateway.projections.build import build_apart
from gateway.projections.projector import BATCH, Projector
from gateway.reading.asking import Asking
from gateway.reading.made import Made
from gateway.reading.sealed_entries import keys_of_tenants
from gateway.reading.shares import SharedConnections
from gateway.runs.figures import BackupFigures
from gateway.settings import SERVICE, GatewaySettings
from gateway.wire.connection_limits import Limits
from gateway.wire.readiness import Readiness
from gateway.wire.server import HttpServer
from gateway.writes.book import RequestBook
from gateway.writes.waiters import Waiters

POOL_CONNECTIONS = 8
HOUSEKEEPING_SECONDS = 60.0
"""Tickets last half a minute: what a person can pile up in between is bounded by their rate."""
FIGURES = ""
"""Whose share of the connections the figures take: no organisation has this id."""
FAILED_SIGN_INS = Rate(per_second=2.0, burst=40.0)


@dataclass(frozen=True, slots=True)
class Process:
    """A gateway that is put together and not started yet: its parts in the order of their start."""

    parts: Sequence[Part]
    gateway: Gateway
    http: HttpServer
    health: Health
    health_server: HealthServer


async def run(settings: GatewaySettings) -> int:
    """Run until told to stop; the exit code."""
    process = assemble(settings)
    return await run_service(process.parts, health=process.health)


def assemble(settings: GatewaySettings) -> Process:
    """All parts of a gateway, wired."""
    clock, ids = SystemClock(), TimeOrderedIds()
    dsn, schema = settings.postgres_dsn, settings.postgres_schema
    telemetry = Telemetry(SERVICE, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)
    health = Health(SERVICE)
    connection = connection_of(settings, telemetry, health)
    add_certificate_figures(
        telemetry,
        dsn=settings.postgres_dsn,
        nats_ca_file=settings.nats_ca_file,
        nats_expires=connection.certificate_expires,
    )
    store = EventStore(dsn=dsn, schema=schema, service=SERVICE, health=health)
    made = Made()
    pool = open_pool(dsn, schema, name=SERVICE, max_size=POOL_CONNECTIONS, connection_class=made.connection_class())
    shared = SharedConnections(pool)
    sealer = Sealer(settings.keys_dir)
    locations = Locations(
        settings.locations_file, health, own=OwnFolders.of(settings), is_at_sources=settings.sources_here
    )
    add_key_checks(health, sealer)
    keys = KeySet(
        file=settings.jwks_file,
        url=settings.jwks_url,
        refresh_seconds=settings.jwks_refresh_seconds,
        stale_seconds_max=settings.jwks_stale_seconds_max,
        health=health,
        telemetry=telemetry,
    )
    rules = TokenRules(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        organisation_path=settings.jwt_organisation_claim,
        roles_path=settings.jwt_roles_claim,
    )
    projector = projector_of(settings, connection, telemetry, health)
    feed, waiters, progress = (
        FactFeed(dsn, schema, made, telemetry=telemetry),
        Waiters(),
        LiveProgress(lambda: connection.client),
    )

    async def read_status(organisation: str) -> bytes:
        async with monitor.reading(organisation) as database:
            return msgspec.json.encode(await status.read(database, organisation, locations, clock))

    board = StatusBoard(read_status)
    people = TokenBuckets(Rate(settings.rate_per_second, settings.rate_burst))
    monitor = Monitor(
        connections=shared,
        feed=feed,
        progress=progress,
        clock=clock,
        people=people,
        sockets_per_organisation=settings.sockets_per_organisation,
    )

    tenants = keys_of_tenants(sealer, monitor.reading, FIGURES)
    add_keys_of_tenants(health, tenants)
    add_key_figures(telemetry, sealer, tenants)
    telemetry.figures.add("backups", BackupFigures(lambda: monitor.reading(FIGURES)).read)
    telemetry.figures.add("recoveries", RecoveryFigures(lambda: monitor.reading(FIGURES)).read)
    keys.when_changed(lambda: monitor.end_withdrawn(keys.has))
    _gauge(telemetry, "wedsync_gateway_sockets", "Open WebSockets", lambda: len(monitor))
    _gauge(telemetry, "wedsync_gateway_waiting_writes", "Writes that wait for their answer", lambda: len(waiters))
    for listener in (waiters.tell, board.tell, progress.tell):
        feed.listen(listener)
    gateway = Gateway(
        pool=pool,
        clock=clock,
        sealer=sealer,
        locations=locations,
        verifier=TokenVerifier(keys, rules, clock),
        people=people,
        strangers=TokenBuckets(FAILED_SIGN_INS),
        book=RequestBook(
            writers=TokenBuckets(Rate(settings.writes_per_second, settings.writes_burst)),
            organisations=TokenBuckets(
                Rate(settings.organisation_writes_per_second, settings.organisation_writes_burst)
            ),
            store=store,
            pool=pool,
            connections=shared,
            sealer=sealer,
            waiters=waiters,
            until_answering=feed.until_answering,
            clock=clock,
            ids=ids,
            wait_seconds=settings.answer_wait_seconds,
        ),
        status=board,
        progress=progress,
        monitor=monitor,
        tickets=Tickets(pool, shared, clock),
        denials=DenialLog(store, ids, telemetry=telemetry),
        readiness=Readiness(health),
        telemetry=telemetry,
        asking=Asking(lambda: connection.client),
        allowed_origins=settings.allowed_origins,
        compliance_schema=settings.compliance_schema,
        prices=settings.prices(),
    )
    http = HttpServer(
        create_app(gateway),
        host=settings.http_host,
        port=settings.http_port,
        trusted_proxies=settings.trusted_proxies,
        limits=Limits(connections=settings.connections_max, per_address=settings.connections_per_address),
    )
    connections = http.connections
    _gauge(telemetry, "wedsync_gateway_connections", "Open connections", lambda: len(connections))
    _gauge(
        telemetry, "wedsync_gateway_connections_refused", "Connections that were too many", lambda: connections.refused
    )
    health_server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    parts: list[Part] = [
        health_server,
        store,
        PoolPart(pool),
        connection,
        TopologyCheck(connection, SERVICE),
        keys,
        keys.loop,
        Relay(dsn=dsn, schema=schema, nats=connection, owner=SERVICE, telemetry=telemetry),
        projector.loop,
        feed.loop,
        progress,
        PointAnswers(lambda: connection.client, monitor.reading),
        gateway.denials,
        Supervised(
            "housekeeping", lambda: _keep_house(gateway), telemetry=telemetry, every_seconds=HOUSEKEEPING_SECONDS
        ),
        http,
    ]
    return Process(parts, gateway, http, health, health_server)


def _gauge(telemetry: Telemetry, name: str, meaning: str, value: Callable[[], float]) -> None:
    Gauge(name, meaning, registry=telemetry.registry).set_function(value)


def connection_of(settings: GatewaySettings, telemetry: Telemetry, health: Health) -> Connection:
    """The process's connection to NATS."""
    return Connection.of(settings, SERVICE, telemetry, health)


def projector_of(
    settings: GatewaySettings,
    connection: Connection,
    telemetry: Telemetry,
    health: Health | None,
    *,
    batch: int = BATCH,
) -> Projector:
    """The projector of this gateway's read models."""
    return Projector(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        nats=lambda: connection.client,
        telemetry=telemetry,
        health=health,
        batch=batch,
        build_apart=lambda: build_apart(settings),
    )


async def _keep_house(gateway: Gateway) -> None:
    """Let go of what is too old to be used."""
    await gateway.book.forget_old()
    await gateway.tickets.forget_old()
