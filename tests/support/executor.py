"""An executor on real parts: record and claims in Postgres, the wake-up on NATS, repositories in folders."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import msgspec

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import QueueLimits
from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimQueue, ClaimTable
from chassis.clock import SystemClock
from chassis.context import Context
from chassis.handling import Handled, Handling, deal_with
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.life.standstills import Standstills
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from chassis.postgres.database import open_pool
from chassis.postgres.pool import Pool, PoolPart
from chassis.record.eventstore import EventStore
from chassis.sealing import Sealer, prepare_keys_folder
from chassis.telemetry.instruments import Telemetry
from contracts.config_events import ConfigurationCreated, ConfigurationFact, ConfigurationRetired, ConfigurationUpdated
from contracts.configuration import (
    DATA_SUBJECT_FIELD,
    EXCLUDE_FIELD,
    NAME_FIELD,
    SOURCE_IDENTIFIER_FIELD,
    BackupType,
    ConfigurationBody,
    Destination,
    SourceType,
    StorageDestinations,
)
from contracts.envelope import Envelope, decode_data
from contracts.event import Event
from contracts.executor_events import BackupRefused
from contracts.gateway_events import BackupCancellationRequested, BackupRequested, BackupRetryRequested, Evidence
from contracts.schedule import Schedule
from contracts.streams import STOP_WORKERS, WAKE_WORKERS
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.data_plane import RepositoryDataPlane
from services.executor.adapters.registry import RegisteredLocations
from services.executor.adapters.runs import RUNS, RecordedRuns
from services.executor.adapters.schema import STATEMENTS
from services.executor.adapters.tables import ReplicaTable, SealedReports
from services.executor.adapters.trials import TRIALS, RecordedTrials
from services.executor.bootstrap import POOL_CONNECTIONS, use_cases
from services.executor.cleaning import records
from services.executor.performance import RunPerformance
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess
from tests.support.published import assert_as_promised
from tests.support.sealing import MakingSealer

ORGANISATION = "org-a"
CONFIGURATION = "configuration-1"
BEAT_SECONDS = 0.1
SILENCE_SECONDS = 1.0
PLENTY = QueueLimits(per_organisation=1000, in_all=1000)


EVIDENCE = Evidence(assurance="aal2")


@dataclass
class ExecutorBench:
    """Everything that an executor consists of, to be used piece by piece."""

    home: Path
    access: SchemaAccess
    store: EventStore
    pool: Pool
    beats: Pool
    connection: Connection
    sealer: Sealer
    locations: Locations

    @property
    def source(self) -> Path:
        """The folder that is backed up."""
        return self.home / "source"

    @property
    def keys(self) -> Path:
        """The folder of keys."""
        return self.home / "keys"

    def tier(self, name: str) -> Path:
        """The folder of an organisation's repository on a tier."""
        return self.home / "tiers" / name / ORGANISATION

    @cached_property
    def claims(self) -> ClaimTable:
        """The claims, with a short silence; of one worker, which has watched since it first looked."""
        return ClaimTable(RUNS, self.pool, self.beats, silence_seconds=SILENCE_SECONDS)

    def data_plane(self, *, tier_reserve_bytes: int = 0) -> RepositoryDataPlane:
        """The real one."""
        return RepositoryDataPlane(
            locations=self.locations,
            sealer=self.sealer,
            keys_dir=self.keys,
            own=OwnFolders([self.keys]),
            memory_bytes=256 << 20,
            begun=BegunRepositories(self.pool),
            tier_reserve_bytes=tier_reserve_bytes,
        )

    def performance(
        self, data_plane: object | None = None, runs: object | None = None, **patience: object
    ) -> RunPerformance:
        """A worker's use case."""
        return RunPerformance(
            runs=runs or RecordedRuns(self.store),  # type: ignore[arg-type]  # as below
            configurations=ReplicaTable(self.pool, self.store),
            claims=self.claims,
            data_plane=data_plane or self.data_plane(),  # type: ignore[arg-type]  # tests wrap the real one
            progress=NatsProgress(self.connection, "executor", SystemClock()),
            **{  # type: ignore[arg-type]  # tests know it
                "reports": SealedReports(self.sealer),
                "standstills": Standstills(Health("worker")),
                **patience,
            },
        )

    def loop(
        self,
        worker: str = "w1",
        *,
        slots: int = 1,
        data_plane: object | None = None,
        claims: ClaimTable | None = None,
        runs: object | None = None,
        set_aside: SetAside | None = None,
        require_means: Callable[[], Awaitable[None]] | None = None,
        **patience: object,
    ) -> ClaimLoop:
        """A worker."""
        return ClaimLoop(
            noun=RUNS.noun,
            claims=claims or self.claims,
            performer=self.performance(data_plane, runs, **patience),
            connection=self.connection,
            wake=WAKE_WORKERS,
            stop=STOP_WORKERS,
            worker=worker,
            slots=slots,
            beat_seconds=BEAT_SECONDS,
            set_aside=set_aside or SetAside(Health("worker"), noun=RUNS.noun),
            require_means=require_means,
        )

    async def configure(
        self,
        *,
        configuration_id: str = CONFIGURATION,
        version: int = 1,
        path: str = "",
        bucket: str | None = None,
        database: str | None = None,
        exclude: str | None = None,
        is_wedding_critical: bool = False,
        retention_policy_id: str | None = None,
        schedule: Schedule | None = None,
        tags: tuple[str, ...] = (),
        name: str = "weddings",
        data_subject_id: str | None = None,
        is_retired: bool = False,
        **destinations: Destination,
    ) -> None:
        """Make a configuration known: of a folder, or a bucket's or database's location, at a path or all of it."""
        seal = partial(self.sealer.seal, ORGANISATION, subject=data_subject_id)
        body = ConfigurationBody(
            name=seal(NAME_FIELD, name),
            name_digest="d",
            source_type=SourceType.S3 if bucket else SourceType.POSTGRES if database else SourceType.DIRECTORY,
            source_location=bucket or database or "photos",
            source_identifier=seal(SOURCE_IDENTIFIER_FIELD, path),
            backup_type=BackupType.INCREMENTAL,
            storage_destinations=StorageDestinations(**destinations),
            exclude=seal(EXCLUDE_FIELD, exclude) if exclude is not None else None,
            exclude_caches=exclude is not None,
            is_wedding_critical=is_wedding_critical,
            retention_policy_id=retention_policy_id,
            schedule=schedule,
            tags=tags,
            data_subject=seal(DATA_SUBJECT_FIELD, name) if data_subject_id is not None else None,
            data_subject_id=data_subject_id,
        )
        fact: ConfigurationFact = ConfigurationCreated(
            request_id="r", configuration_id=configuration_id, version=version, body=body
        )
        if version > 1:
            fact = ConfigurationUpdated(**msgspec.structs.asdict(fact), before=body)
        if is_retired:
            fact = ConfigurationRetired(request_id="r", configuration_id=configuration_id, version=version, body=body)
        await self.hear(fact)

    async def request(
        self,
        run_id: str,
        *,
        configuration_id: str = CONFIGURATION,
        event_id: str | None = None,
        version: int = 1,
        deliveries: int = 1,
        limits: QueueLimits = PLENTY,
        retry_of: str | None = None,
    ) -> None:
        """Decide on a requested backup, as the handler does."""
        request = BackupRequested(
            request_id=f"request of {run_id}",
            execution_id=run_id,
            configuration_id=configuration_id,
            configuration_version=version,
            evidence=EVIDENCE,
        )
        if retry_of is not None:
            request = BackupRetryRequested(**msgspec.structs.asdict(request), retry_of=retry_of)
        await self.hear(request, event_id=event_id, deliveries=deliveries, limits=limits)

    async def cancel(self, run_id: str, *, request_id: str = "cancel-1", organisation: str = ORGANISATION) -> None:
        """Decide on a requested cancellation, as the handler does."""
        request = BackupCancellationRequested(request_id=request_id, execution_id=run_id, evidence=EVIDENCE)
        await self.hear(request, organisation=organisation)

    async def hear(
        self,
        event: Event,
        *,
        organisation: str = ORGANISATION,
        event_id: str | None = None,
        deliveries: int = 1,
        limits: QueueLimits = PLENTY,
        actor: str = "user:owner",
    ) -> None:
        """Deal with an event that the executor takes, as its handler does."""
        replicas, queue = ReplicaTable(self.pool, self.store), ClaimQueue(RUNS, self.pool)
        registry = RegisteredLocations(self.locations)
        trials, tests = RecordedTrials(self.store), ClaimQueue(TRIALS, self.pool)
        of_runs = (RecordedRuns(self.store), replicas, registry, queue, limits, trials, tests)
        cases = use_cases(*of_runs, records(self.store, self.pool))
        use_case = cases[type(event)]
        handling = Handling(
            context=msgspec.structs.replace(self.context(), organisation=organisation),
            handled=Handled(event.TAKEN_BY[0], event_id or new_id()),
            deliveries=deliveries,
            actor=actor,
        )
        await deal_with(use_case, event, handling)

    async def told(self, run_id: str) -> list[Event]:
        """All events of a run, each as its schema promises it."""
        envelopes: list[Envelope] = await self.store.history(run_id)
        for envelope in envelopes:
            assert_as_promised(envelope)
        events = [decode_data(envelope) for envelope in envelopes]
        assert not any("LOCATION" in getattr(event, "hint", "") for event in events), "a hint names the very thing"
        return events

    async def refusal(self, run_id: str) -> BackupRefused:
        """The one thing that a run's history says: that it was refused."""
        (refused,) = await self.told(run_id)
        assert isinstance(refused, BackupRefused)
        return refused

    async def names(self, run_id: str) -> list[str]:
        """The names of a run's events, without owner and version."""
        return [event.NAME.split(".")[1] for event in await self.told(run_id)]

    @staticmethod
    def context() -> Context:
        """In the name of a user."""
        return Context(organisation=ORGANISATION, actor="user:u1", correlation_id="correlation-1")


def _register(home: Path, tiers: tuple[str, ...]) -> Path:
    path = home / "locations.json"
    entries = [
        {
            "name": name,
            "kind": "directory",
            "roles": ["tier"],
            "organisations": ["*"],
            "url": f"file://{home}/tiers/{name}",
        }
        for name in tiers
    ]
    entries.append(
        {
            "name": "photos",
            "kind": "directory",
            "roles": ["source"],
            "organisations": [ORGANISATION],
            "url": f"file://{home}/source",
        }
    )
    path.write_text(json.dumps({"locations": entries}))
    return path


@asynccontextmanager
async def executor_bench(home: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    """Put an executor together in a folder of its own."""
    (home / "source").mkdir(parents=True)
    tiers = ("local", "second", "third")
    for name in tiers:
        (home / "tiers" / name).mkdir(parents=True)
    prepare_keys_folder(home / "keys")
    access = postgres.fresh(statements=STATEMENTS, prefix="executor")
    store = EventStore(dsn=access.dsn, schema=access.schema, service="executor")
    pool = open_pool(access.dsn, access.schema, name="test", max_size=POOL_CONNECTIONS)
    beats = open_pool(access.dsn, access.schema, name="test-beats", max_size=1)
    telemetry, health = Telemetry("executor-worker"), Health("executor-worker")
    connection = nats_server.connection("executor-worker", telemetry, health)
    parts = [store, PoolPart(pool), PoolPart(beats), connection]
    for part in parts:
        await part.start()
    try:
        yield ExecutorBench(
            home=home,
            access=access,
            store=store,
            pool=pool,
            beats=beats,
            connection=connection,
            sealer=MakingSealer(home / "keys"),
            locations=Locations(_register(home, tiers)),
        )
    finally:
        for part in reversed(parts):
            await part.stop()
        postgres.drop(access)
