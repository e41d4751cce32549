"""Where the recovery service's two processes are put together."""

import os
import socket

from chassis.bus.connection import Connection
from chassis.bus.subscriptions import Bus
from chassis.bus.topology import TopologyCheck
from chassis.bus.use_cases import handlers_of
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.progress import NatsProgress
from chassis.claims.table import BEAT_SECONDS, ClaimQueue, ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.clock import SystemClock
from chassis.deciding import Deciding
from chassis.handling import UseCase
from chassis.key_checks import add_key_checks
from chassis.life.health import Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.life.standstills import Standstills
from chassis.locations import Locations
from chassis.outbox.relay import Relay
from chassis.own_folders import OwnFolders
from chassis.postgres.database import open_pool
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.sealing import Sealer
from chassis.settings import ServiceSettings
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.config_events import ConfigurationCreated, ConfigurationUpdated
from contracts.dr_execution_events import DrRecoveryAsked, DrRecoveryWithdrawn
from contracts.erasure_events import RecoveryPointsErased
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import RecoveryCancellationRequested, RecoveryRequested
from contracts.recovery_events import RecoveryCancellationRefused, RecoveryRefused
from contracts.streams import STOP_RECOVERIES, WAKE_RECOVERIES
from services.recovery.adapters.data_plane import RepositoryRestores
from services.recovery.adapters.looks import RepositoryLooks
from services.recovery.adapters.operations import RECOVERIES, RecordedOperations
from services.recovery.adapters.points import PointTable
from services.recovery.adapters.targets import LookedAtTargets
from services.recovery.adapters.validations import RecordedValidations
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.application import Catalogue, RecoveryDecisions
from services.recovery.domain import RecoveryOperation
from services.recovery.failures import told_code
from services.recovery.looking import LookAnswers
from services.recovery.performance import RecoveryPerformance
from services.recovery.ports import Operations, Points, Targets
from services.recovery.settings import RecoverySettings, RecoveryWorkerSettings
from services.recovery.validating.ports import Validations
from services.recovery.validations import REFUSED as VALIDATIONS_REFUSED
from services.recovery.validations import unclaimed_validations, validation_cases, validation_loop, validation_timers

SERVICE = "recovery"
WORKER_IDENTITY = "recovery-worker"

REFUSED: dict[type[Event], RefusedAs] = {
    RecoveryRequested: RefusedAs(RecoveryRefused, "operation_id"),
    RecoveryCancellationRequested: RefusedAs(RecoveryCancellationRefused),
    DrRecoveryAsked: RefusedAs(RecoveryRefused, "operation_id"),
    DrRecoveryWithdrawn: RefusedAs(RecoveryCancellationRefused),
    **VALIDATIONS_REFUSED,
}
"""What each request is refused with where its message is given up."""

POOL_CONNECTIONS = 2
WORKER_CONNECTIONS_MAX = 3 + POOL_CONNECTIONS + 1
"""Of Postgres: the record's, the claims', and one for heartbeats alone."""


def use_cases(
    operations: Operations, points: Points, targets: Targets, validations: Validations
) -> dict[type[Event], UseCase]:
    """What deals with each event that the recovery service takes."""
    decisions, catalogue = RecoveryDecisions(operations, points, targets), Catalogue(points)
    of_operations = Deciding(RecoveryOperation, operations, about="operation_id")
    cancel = of_operations.by(RecoveryOperation.cancel, RecoveryCancellationRefused)
    return {
        RecoveryRequested: decisions.decide,
        RecoveryCancellationRequested: cancel,
        DrRecoveryAsked: decisions.decide_of_plan,
        DrRecoveryWithdrawn: decisions.withdrawing(cancel),
        BackupCompleted: catalogue.remember,
        RecoveryPointsForgotten: catalogue.forget,
        RecoveryPointsErased: catalogue.forget,
        ConfigurationCreated: catalogue.remember_places,
        ConfigurationUpdated: catalogue.remember_places,
        **validation_cases(validations, points),
    }


def _connection(settings: ServiceSettings, identity: str, telemetry: Telemetry, health: Health) -> Connection:
    connection = Connection.of(settings, identity, telemetry, health)
    add_certificate_figures(
        telemetry,
        dsn=settings.postgres_dsn,
        nats_ca_file=settings.nats_ca_file,
        nats_expires=connection.certificate_expires,
    )
    return connection


async def run(settings: RecoverySettings) -> int:
    """The deciding process: answers requests, keeps what can be restored, publishes the record; the exit code."""
    telemetry = Telemetry(SERVICE, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)
    health = Health(SERVICE)
    connection = _connection(settings, SERVICE, telemetry, health)
    store = EventStore(dsn=settings.postgres_dsn, schema=settings.postgres_schema, service=SERVICE, health=health)
    pool = open_pool(settings.postgres_dsn, settings.postgres_schema, name=SERVICE, max_size=POOL_CONNECTIONS)
    relay = Relay(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        nats=connection,
        owner=SERVICE,
        telemetry=telemetry,
    )
    telemetry.figures.add("queue", ClaimQueue(RECOVERIES, pool).read)
    telemetry.figures.add("validations", ClaimQueue(VALIDATIONS, pool).read)
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    operations = RecordedOperations(store)
    sealer = Sealer(settings.keys_dir)
    add_key_checks(health, sealer)
    targets = LookedAtTargets(Locations(settings.locations_file, health), OwnFolders.of(settings), sealer)
    answering = use_cases(operations, PointTable(pool, store), targets, RecordedValidations(store))
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, RecoveryOperation, REFUSED)):
        bus.handle(*each)
    unclaimed = UnclaimedWork(
        RECOVERIES,
        pool,
        UnclaimedTeller(operations, told_code, actor=f"service:{SERVICE}"),
        bound_seconds=settings.recovery_unclaimed_seconds,
        telemetry=telemetry,
    )
    validations = unclaimed_validations(
        store, pool, bound_seconds=settings.recovery_unclaimed_seconds, telemetry=telemetry
    )
    timers = validation_timers(
        store,
        pool,
        within_days=settings.recovery_validate_within_days,
        bytes_a_day=settings.recovery_validate_bytes_a_day,
        health=health,
        telemetry=telemetry,
    )
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    topology = TopologyCheck(connection, SERVICE)
    parts: list[Part] = [server, store, PoolPart(pool), connection, topology, relay, unclaimed, validations]
    parts += [bus, timers]
    return await run_service(parts, health=health)


async def run_worker(settings: RecoveryWorkerSettings) -> int:
    """A worker process: claims recoveries and performs them; the exit code."""
    telemetry = Telemetry(
        WORKER_IDENTITY, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio
    )
    health = Health(WORKER_IDENTITY)
    connection = _connection(settings, WORKER_IDENTITY, telemetry, health)
    dsn, schema = settings.postgres_dsn, settings.postgres_schema
    store = EventStore(dsn=dsn, schema=schema, service=SERVICE, connections=WORKER_CONNECTIONS_MAX, health=health)
    pool = open_pool(dsn, schema, name=WORKER_IDENTITY, max_size=POOL_CONNECTIONS)
    beats = open_pool(dsn, schema, name=f"{WORKER_IDENTITY}-beats", max_size=1)
    sealer = Sealer(settings.keys_dir)
    add_key_checks(health, sealer)
    claims, locations = ClaimTable(RECOVERIES, pool, beats), Locations(settings.locations_file, health)
    progress = NatsProgress(connection, SERVICE, SystemClock())
    performance = RecoveryPerformance(
        operations=RecordedOperations(store),
        claims=claims,
        data_plane=RepositoryRestores(
            locations=locations,
            sealer=sealer,
            keys_dir=settings.keys_dir,
            targets=LookedAtTargets(locations, OwnFolders.of(settings), sealer),
        ),
        progress=progress,
        standstills=Standstills(health, noun=RECOVERIES.noun),
        leave_seconds=settings.recovery_standstill_seconds,
    )

    async def require_means() -> None:
        await sealer.ask(sealer.check_folder)
        if (trouble := await locations.check()) is not None:
            raise trouble

    worker = settings.recovery_worker_name or f"{socket.gethostname()}:{os.getpid()}"
    loop = ClaimLoop(
        noun=RECOVERIES.noun,
        claims=claims,
        performer=performance,
        connection=connection,
        wake=WAKE_RECOVERIES,
        stop=STOP_RECOVERIES,
        worker=worker,
        slots=settings.recovery_worker_slots,
        beat_seconds=BEAT_SECONDS,
        set_aside=SetAside(health, noun=RECOVERIES.noun),
        require_means=require_means,
        telemetry=telemetry,
    )
    validations = validation_loop(
        worker=worker,
        store=store,
        pool=pool,
        beats=beats,
        connection=connection,
        locations=locations,
        keys_dir=settings.keys_dir,
        progress=progress,
        health=health,
        telemetry=telemetry,
        leave_seconds=settings.recovery_standstill_seconds,
        require_means=require_means,
    )
    looks = LookAnswers(
        connection=connection,
        points=PointTable(pool, store),
        looks=RepositoryLooks(locations=locations, keys_dir=settings.keys_dir),
        telemetry=telemetry,
    )
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    heartbeats = PoolPart(beats, name="heartbeat-connection")
    parts: list[Part] = [server, store, PoolPart(pool), heartbeats, connection, looks, loop, validations]
    return await run_service(parts, health=health)
