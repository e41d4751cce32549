"""Where the executor's two processes are put together."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import Gauge

from chassis.bus.connection import Connection
from chassis.bus.subscriptions import Bus
from chassis.bus.topology import TopologyCheck
from chassis.bus.use_cases import handlers_of
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import Queue, QueueLimits
from chassis.claims.progress import NatsProgress
from chassis.claims.table import BEAT_SECONDS, ClaimQueue, ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.clock import SystemClock
from chassis.deciding import Deciding
from chassis.disk import Disk
from chassis.handling import UseCase
from chassis.key_checks import add_key_checks, add_key_figures
from chassis.life.health import DEGRADED, Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.life.standstills import Standstills
from chassis.locations import Locations
from chassis.outbox.relay import Relay
from chassis.own_folders import OwnFolders, require_absolute
from chassis.postgres.database import open_pool
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.sealing import Sealer
from chassis.settings import ServiceSettings, variable_of
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.figures import DiskSpace
from chassis.telemetry.instruments import Telemetry
from contracts.config_events import BackupFellDue, ConfigurationFact
from contracts.errors import INVALID_SETTING, PlatformError
from contracts.event import Event, pinned_kinds
from contracts.executor_events import BackupCancellationRefused, BackupRefused, ConfigurationTestRefused
from contracts.gateway_events import (
    BackupCancellationRequested,
    BackupRequested,
    BackupRetryRequested,
    ConfigurationTestRequested,
)
from contracts.streams import STOP_WORKERS, WAKE_WORKERS
from repository.tiers.local_cache import LocalCache
from services.executor import cleaning
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.cleanup_plane import RepositoryCleanups
from services.executor.adapters.data_plane import RepositoryDataPlane
from services.executor.adapters.erasing.ledger import ErasureLedger
from services.executor.adapters.erasing.plane import RepositoryErasures
from services.executor.adapters.following import FollowingRuns, timer_loop
from services.executor.adapters.looking.places import LookedAt
from services.executor.adapters.optimization_plane import RepositoryOptimizations
from services.executor.adapters.registry import RegisteredLocations
from services.executor.adapters.repair_plane import RepositoryRepairs
from services.executor.adapters.run_sources import RunSources
from services.executor.adapters.runs import RUNS, RecordedRuns
from services.executor.adapters.tables import ReplicaTable, SealedReports
from services.executor.adapters.tier_watch import TierWatch, tier_folders
from services.executor.adapters.trials import TRIALS, RecordedTrials, TrialTeller
from services.executor.application import BackupDecisions, ConfigurationCopies, TestDecisions
from services.executor.domain import BackupRun, ConfigurationTest
from services.executor.failures import told_code
from services.executor.follow_ups import FollowUps
from services.executor.performance import RunPerformance
from services.executor.ports import Configurations, Registry, Runs, Trials
from services.executor.settings import ExecutorSettings, WorkerSettings
from services.executor.trials import TrialPerformance
from vault.key_files import RepositoryKeys
from vault.stores import folder_of

SERVICE = "executor"
WORKER_IDENTITY = "executor-worker"

REFUSED: dict[type[Event], RefusedAs] = {
    BackupRequested: RefusedAs(BackupRefused, "execution_id"),
    BackupRetryRequested: RefusedAs(BackupRefused, "execution_id"),
    BackupFellDue: RefusedAs(BackupRefused, "execution_id"),
    BackupCancellationRequested: RefusedAs(BackupCancellationRefused),
    ConfigurationTestRequested: RefusedAs(ConfigurationTestRefused, kind=ConfigurationTest),
    **cleaning.REFUSED,
}
"""What each request is refused with where its message is given up; a run of a schedule is missed by that."""

TEST_SLOTS = 2
"""Tests of configurations that a worker does at a time, beside its runs, of which none waits for a test."""
TEST_UNCLAIMED_SECONDS = 60.0
"""A test that no worker can take is refused so long after that was noticed."""

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

POOL_CONNECTIONS = 2
"""Of each process, beside the record's. What they are used for takes milliseconds, whatever the number of slots."""
WORKER_CONNECTIONS_MAX = 3 + POOL_CONNECTIONS + 1
"""What a worker takes of Postgres at most: the record's, the claims', and one for heartbeats alone."""


def _connection(settings: ServiceSettings, identity: str, telemetry: Telemetry, health: Health) -> Connection:
    connection = Connection.of(settings, identity, telemetry, health)
    add_certificate_figures(
        telemetry,
        dsn=settings.postgres_dsn,
        nats_ca_file=settings.nats_ca_file,
        nats_expires=connection.certificate_expires,
    )
    return connection


def use_cases(
    runs: Runs,
    configurations: Configurations,
    registry: Registry,
    queue: Queue,
    limits: QueueLimits,
    trials: Trials,
    tests: Queue,
    kept: cleaning.Records,
) -> dict[type[Event], UseCase]:
    """What deals with each event that the executor takes."""
    decisions = BackupDecisions(runs, configurations, registry, queue, limits, SystemClock())
    copies = ConfigurationCopies(configurations)
    of_runs = Deciding(BackupRun, runs, about="execution_id")
    return {
        BackupRequested: decisions.decide,
        BackupRetryRequested: decisions.decide_retry,
        BackupFellDue: decisions.decide_due,
        ConfigurationTestRequested: TestDecisions(trials, configurations, tests).decide,
        BackupCancellationRequested: of_runs.by(BackupRun.cancel, BackupCancellationRefused),
        **dict.fromkeys(pinned_kinds(ConfigurationFact), copies.remember),
        **cleaning.cases(kept),
    }


async def run(settings: ExecutorSettings) -> int:
    """The deciding process: answers requests, keeps copies of configurations, publishes the record; the exit code."""
    telemetry = Telemetry(SERVICE, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)
    health = Health(SERVICE)
    connection = _connection(settings, SERVICE, telemetry, health)
    store = EventStore(dsn=settings.postgres_dsn, schema=settings.postgres_schema, service=SERVICE, health=health)
    pool = open_pool(settings.postgres_dsn, settings.postgres_schema, name="executor", max_size=POOL_CONNECTIONS)
    relay = Relay(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        nats=connection,
        owner=SERVICE,
        telemetry=telemetry,
    )
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    replicas = ReplicaTable(pool, store)
    registry = RegisteredLocations(Locations(settings.locations_file))
    limits = QueueLimits(per_organisation=settings.queue_per_organisation, in_all=settings.queue_in_all)
    queue = ClaimQueue(RUNS, pool)
    telemetry.figures.add("queue", queue.read)
    cleaning.add_figures(telemetry, pool)
    Gauge("wedsync_queue_limit_runs", "Runs that may wait in all.", registry=telemetry.registry).set(limits.in_all)
    trials = RecordedTrials(store)
    answering = use_cases(
        RecordedRuns(store),
        replicas,
        registry,
        queue,
        limits,
        trials,
        ClaimQueue(TRIALS, pool),
        cleaning.records(store, pool),
    )
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, BackupRun, REFUSED)):
        bus.handle(*each)
    topology = TopologyCheck(connection, SERVICE)
    unclaimed = UnclaimedWork(
        RUNS,
        pool,
        UnclaimedTeller(RecordedRuns(store), told_code, actor=f"service:{SERVICE}"),
        bound_seconds=settings.run_unclaimed_seconds,
        telemetry=telemetry,
    )
    untested = UnclaimedWork(
        TRIALS,
        pool,
        TrialTeller(trials, actor=f"service:{SERVICE}"),
        bound_seconds=TEST_UNCLAIMED_SECONDS,
        telemetry=telemetry,
    )
    untested.name = "unclaimed-tests"
    following = FollowingRuns(store, RecordedRuns(store), replicas, queue, limits)
    timers = timer_loop(pool, store, following, health=health, telemetry=telemetry)
    forlorn = cleaning.unclaimed_work(store, pool, bound_seconds=settings.run_unclaimed_seconds, telemetry=telemetry)
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    own: list[Part] = [unclaimed, untested, *forlorn, timers]
    parts: list[Part] = [server, store, PoolPart(pool), connection, topology, relay, *own, bus]
    return await run_service(parts, health=health)


def memory_of_machine() -> int:
    """What this process can have at most: the machine's memory, or less where its control group says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine


def checked_cache(settings: WorkerSettings, registered: Sequence[str] = ()) -> LocalCache | None:
    """Where the worker keeps what it has read. Raises INVALID_SETTING where the folder cannot be one, or is another's.

    `registered`: the folders of registered locations, sources and tiers, as they are written: no disk of theirs is
    asked. What a disk does later costs the speed alone.
    """
    if not settings.cache:
        return None
    folder, fault = Path(settings.cache), None
    require_absolute("cache", folder)
    if OwnFolders([settings.keys_dir]).hold(bytes(folder)):
        fault = "lies in the folder of the keys"
    elif any(OwnFolders([each]).hold(bytes(folder)) for each in settings.tier_folders):
        fault = "lies in a folder for tiers"
    elif any(_is_within(folder, each) for each in registered):
        fault = "lies in the folder of a registered location"
    elif any(_is_within(folder, each) for each in ("/proc", "/sys")):
        fault = "is of what the kernel shows, which keeps no files"
    elif folder.exists() and not folder.is_dir():
        fault = "is no folder"
    if fault is not None:
        variable = variable_of("cache")
        hint = f"Set {variable} to a folder of its own, or leave it out."
        raise PlatformError(INVALID_SETTING, f"what {variable} names {fault}", field=variable, hint=hint)
    return LocalCache(folder)


def _is_within(folder: Path, other: str) -> bool:
    other = os.path.abspath(other)
    return os.path.commonpath([other, os.path.realpath(folder)]) == other


async def registered_folders(settings: WorkerSettings) -> list[str]:
    """The folders of registered locations in which no cache may lie; none where the registry cannot be read now, which
    the readiness tells.

    A source or a target may hold the cache where it is among the platform's own folders, which no run reads and no
    recovery writes: a home lies in somebody's home folder, which is to be backed up.
    """
    is_own = bool(settings.cache) and OwnFolders.of(settings).hold(os.fsencode(settings.cache))
    try:
        registry = Locations(settings.locations_file)
        locations, faulty = await registry.all_now(), await registry.faulty_folders()
    except PlatformError:
        return []
    folders = [each for each in locations if each.kind == "directory" and ("tier" in each.roles or not is_own)]
    return [*([] if is_own else faulty), *(os.fsdecode(folder_of(each)) for each in folders)]


async def run_worker(settings: WorkerSettings) -> int:
    """A worker process: claims runs and performs them; the exit code."""
    cache = checked_cache(settings, await registered_folders(settings))
    slots, memory_bytes = settings.fitted(memory_of_machine())
    telemetry = Telemetry(
        WORKER_IDENTITY, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio
    )
    health = Health(WORKER_IDENTITY)
    connection = _connection(settings, WORKER_IDENTITY, telemetry, health)
    store = EventStore(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        service=SERVICE,
        connections=WORKER_CONNECTIONS_MAX,
        health=health,
    )
    pool = open_pool(settings.postgres_dsn, settings.postgres_schema, name="executor-worker", max_size=POOL_CONNECTIONS)
    beats = open_pool(settings.postgres_dsn, settings.postgres_schema, name="executor-worker-beats", max_size=1)
    # The gateway makes an organisation's keys, before anything of it can come here.
    sealer = Sealer(settings.keys_dir)
    add_key_checks(health, sealer)
    claims, begun, locations = (
        ClaimTable(RUNS, pool, beats, bounds=settings.bounds()),
        BegunRepositories(pool),
        Locations(settings.locations_file, health),
    )
    RepositoryKeys(settings.keys_dir, begun.organisations).add_to(health)
    health.add("repositories", begun.check, worst=DEGRADED)
    health.add("tiers-of-organisations", begun.check_tiers, worst=DEGRADED)
    add_key_figures(telemetry, sealer)
    telemetry.figures.add("disks", DiskSpace(lambda: {"keys": settings.keys_dir, **tier_folders(locations)}).read)
    progress = NatsProgress(connection, SERVICE, SystemClock())
    performance = RunPerformance(
        runs=RecordedRuns(store),
        configurations=ReplicaTable(pool, store),
        claims=claims,
        data_plane=RepositoryDataPlane(
            locations=locations,
            sealer=sealer,
            keys_dir=settings.keys_dir,
            own=OwnFolders.of(settings),
            memory_bytes=memory_bytes,
            begun=begun,
            tier_reserve_bytes=settings.tier_reserve_mb << 20,
            cache=cache,
        ),
        reports=SealedReports(sealer),
        progress=progress,
        standstills=Standstills(health),
        leave_seconds=settings.run_standstill_seconds,
        follow_ups=FollowUps(settings.run_retry_seconds),
    )
    watch = TierWatch(
        locations=locations,
        keys_dir=settings.keys_dir,
        begun_at=begun.at,
        reserve_bytes=settings.tier_reserve_mb << 20,
        health=health,
        telemetry=telemetry,
    )

    async def require_means() -> None:
        await sealer.ask(sealer.check_folder)
        if (trouble := await locations.check()) is not None:
            raise trouble

    loop = ClaimLoop(
        noun=RUNS.noun,
        claims=claims,
        performer=performance,
        connection=connection,
        wake=WAKE_WORKERS,
        stop=STOP_WORKERS,
        worker=settings.worker_name or f"{socket.gethostname()}:{os.getpid()}",
        slots=slots,
        beat_seconds=BEAT_SECONDS,
        set_aside=SetAside(health, noun=RUNS.noun),
        require_means=require_means,
        telemetry=telemetry,
    )
    disks: dict[bytes, Disk] = {}  # Of their own, since a run may hold one for hours.

    def disk(folder: bytes) -> Disk:
        return disks.setdefault(folder, Disk(Path(os.fsdecode(folder))))

    places = LookedAt(
        locations=locations,
        sources=RunSources(locations, sealer, settings.keys_dir, OwnFolders.of(settings), disk),
        sealer=sealer,
        keys_dir=settings.keys_dir,
        disk=disk,
        reserve_bytes=settings.tier_reserve_mb << 20,
        clock=SystemClock(),
    )
    test_claims = ClaimTable(TRIALS, pool, beats)
    tests = ClaimLoop(
        noun=TRIALS.noun,
        claims=test_claims,
        performer=TrialPerformance(RecordedTrials(store), test_claims, places),
        connection=connection,
        wake=WAKE_WORKERS,
        stop=STOP_WORKERS,
        worker=settings.worker_name or f"{socket.gethostname()}:{os.getpid()}",
        slots=TEST_SLOTS,
        beat_seconds=BEAT_SECONDS,
        set_aside=SetAside(health, noun=TRIALS.noun),
        require_means=require_means,
        telemetry=telemetry,
    )
    tests.name = "test-loop"
    kept = cleaning.worker_loops(
        worker=settings.worker_name or f"{socket.gethostname()}:{os.getpid()}",
        store=store,
        pool=pool,
        beats=beats,
        connection=connection,
        cleanups=RepositoryCleanups(locations=locations, sealer=sealer, keys_dir=settings.keys_dir, begun=begun),
        repairs=RepositoryRepairs(locations=locations, keys_dir=settings.keys_dir, begun=begun),
        optimizations=RepositoryOptimizations(locations=locations, keys_dir=settings.keys_dir, begun=begun),
        erasures=RepositoryErasures(locations=locations, sealer=sealer, keys_dir=settings.keys_dir, begun=begun),
        progress=progress,
        health=health,
        telemetry=telemetry,
        leave_seconds=settings.run_standstill_seconds,
        require_means=require_means,
    )
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    parts: list[Part] = [
        server,
        store,
        PoolPart(pool),
        PoolPart(beats, name="heartbeat-connection"),
        connection,
        watch,
        loop,
        tests,
        *kept,
        ErasureLedger(store, pool, sealer, telemetry).loop,
    ]
    return await run_service(parts, health=health)
