"""A recovery service on real parts: record and claims in Postgres, the wake-up on NATS, a repository in folders."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.progress import NatsProgress
from chassis.claims.table import ClaimTable
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
from contracts.config_events import ConfigurationCreated, ConfigurationUpdated
from contracts.configuration import Destination, StorageDestinations, Tier
from contracts.envelope import decode_data
from contracts.event import Event
from contracts.executor_events import BackupCompleted
from contracts.gateway_events import (
    Evidence,
    RecoveryCancellationRequested,
    RecoveryRequested,
)
from contracts.recovery_events import SCOPE_FIELD, TARGET_PATH_FIELD, ConflictPolicy
from contracts.samples import sample_event
from contracts.storage_requests import RecoveryValidationRequested
from contracts.streams import STOP_RECOVERIES, WAKE_RECOVERIES
from contracts.validation_events import ValidationDepth
from repository.backup.backup import BackupOptions, backup
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from services.recovery.adapters.data_plane import RepositoryRestores
from services.recovery.adapters.operations import RECOVERIES, RecordedOperations
from services.recovery.adapters.points import PointTable
from services.recovery.adapters.schema import STATEMENTS
from services.recovery.adapters.targets import LookedAtTargets
from services.recovery.adapters.validation_plane import RepositoryValidations
from services.recovery.adapters.validations import RecordedValidations
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.bootstrap import POOL_CONNECTIONS, use_cases
from services.recovery.performance import LEAVE_SECONDS, RecoveryPerformance
from services.recovery.validating.performance import ValidationPerformance
from sources.directory import DirectorySource
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess
from tests.support.published import assert_as_promised
from tests.support.sealing import MakingSealer
from vault.key_files import name_of

ORGANISATION = "org-a"
CONFIGURATION = "configuration-1"
POINT = "run-1"
TIERS = ("local", "second")
SILENCE_SECONDS = 1.0
EVIDENCE = Evidence(assurance="aal2", second_factor=True)


@dataclass
class RecoveryBench:
    """Everything that a recovery service consists of, to be used piece by piece."""

    home: Path
    access: SchemaAccess
    store: EventStore
    pool: Pool
    beats: Pool
    connection: Connection
    sealer: Sealer
    locations: Locations
    health: Health = field(default_factory=lambda: Health("worker"))

    @property
    def source(self) -> Path:
        """What was backed up."""
        return self.home / "source"

    @property
    def restored(self) -> Path:
        """The folder of the target's location."""
        return self.home / "restored"

    @property
    def registry(self) -> Path:
        """The file of the locations."""
        return self.home / "locations.json"

    def tier(self, name: str) -> Path:
        """The folder of the organisation's repository on a tier."""
        return self.home / "tiers" / name / ORGANISATION

    def targets(self) -> LookedAtTargets:
        """The real ones."""
        return LookedAtTargets(self.locations, OwnFolders([self.home / "keys"]), self.sealer)

    def data_plane(self) -> RepositoryRestores:
        """The real one."""
        keys_dir = self.home / "keys"
        return RepositoryRestores(
            locations=self.locations, sealer=self.sealer, keys_dir=keys_dir, targets=self.targets()
        )

    def claims(self, *, silence_seconds: float = SILENCE_SECONDS) -> ClaimTable:
        """Those of one worker, with a short silence; of one that tells no heartbeats, with a long one."""
        return ClaimTable(RECOVERIES, self.pool, self.beats, silence_seconds=silence_seconds)

    def points(self) -> PointTable:
        """The catalogue."""
        return PointTable(self.pool, self.store)

    def performance(
        self, claims: ClaimTable, data_plane: Any = None, *, leave_seconds: float = LEAVE_SECONDS
    ) -> RecoveryPerformance:
        """A worker's use case."""
        return RecoveryPerformance(
            operations=RecordedOperations(self.store),
            claims=claims,
            data_plane=data_plane or self.data_plane(),
            progress=NatsProgress(self.connection, "recovery", SystemClock()),
            standstills=Standstills(self.health, noun=RECOVERIES.noun),
            leave_seconds=leave_seconds,
        )

    def loop(self, data_plane: Any = None) -> ClaimLoop:
        """A worker."""
        claims = self.claims()
        return ClaimLoop(
            noun=RECOVERIES.noun,
            claims=claims,
            performer=self.performance(claims, data_plane),
            connection=self.connection,
            wake=WAKE_RECOVERIES,
            stop=STOP_RECOVERIES,
            worker="w1",
            slots=1,
            beat_seconds=0.1,
            set_aside=SetAside(self.health, noun=RECOVERIES.noun),
        )

    def validation_performance(self, claims: ClaimTable) -> ValidationPerformance:
        """A worker's use case of validations."""
        return ValidationPerformance(
            validations=RecordedValidations(self.store),
            points=self.points(),
            claims=claims,
            plane=RepositoryValidations(locations=self.locations, keys_dir=self.home / "keys"),
            progress=NatsProgress(self.connection, "recovery", SystemClock()),
            standstills=Standstills(self.health, noun=VALIDATIONS.noun),
        )

    async def validate(self, validation_id: str, depth: ValidationDepth, *tiers: Tier, point: str = POINT) -> None:
        """Decide on a requested validation, as the handler does."""
        request = RecoveryValidationRequested(
            request_id=f"request of {validation_id}",
            validation_id=validation_id,
            recovery_point_id=point,
            depth=depth,
            tiers=tiers,
            evidence=EVIDENCE,
        )
        await self.hear(request)

    async def validated(self, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        """Have a worker perform the validation that waits."""
        claims = ClaimTable(VALIDATIONS, self.pool, self.beats, silence_seconds=60.0)
        claim = await claims.take("w1")
        assert claim is not None
        await self.validation_performance(claims).perform(claim, is_cancelled)

    def back_up(self) -> str:
        """Back the source up to both tiers; the snapshot's id."""
        key = KeyFile.create(self.home / "keys" / name_of(ORGANISATION))
        stores = [open_tier(f"file://{self.tier(name)}", name=name) for name in TIERS]
        Repository.init(stores, key)
        repository = Repository.open(stores, key)
        try:
            return backup(
                repository, DirectorySource(self.source), options=BackupOptions(run_token=POINT, label="photos")
            ).snapshot_id
        finally:
            repository.close()

    async def catalogue(self, snapshot_id: str) -> None:
        """Tell of the configuration and of the run that made the snapshot."""
        created = sample_event(ConfigurationCreated)
        destinations = StorageDestinations(
            local=Destination(location="local"), cloud_primary=Destination(location="second")
        )
        body = msgspec.structs.replace(created.body, storage_destinations=destinations)
        await self.hear(msgspec.structs.replace(created, configuration_id=CONFIGURATION, body=body))
        await self.hear(self.points_to(snapshot_id, POINT))

    def points_to(self, snapshot_id: str, point: str = "run-9") -> BackupCompleted:
        """That a run has made a snapshot."""
        completed = sample_event(BackupCompleted)
        return msgspec.structs.replace(
            completed, execution_id=point, configuration_id=CONFIGURATION, snapshot_id=snapshot_id, code=None
        )

    async def configured(self, version: int, *, organisation: str = ORGANISATION, **locations: str) -> None:
        """Tell of a version of the configuration: where it puts its tiers."""
        told = sample_event(ConfigurationUpdated)
        destinations = StorageDestinations(**{tier: Destination(location=at) for tier, at in locations.items()})
        body = msgspec.structs.replace(told.body, storage_destinations=destinations)
        fact = msgspec.structs.replace(told, configuration_id=CONFIGURATION, version=version, body=body)
        await self.hear(fact, organisation=organisation)

    async def request(
        self,
        operation_id: str,
        path: str = "all",
        *,
        scope: str | None = None,
        policy: ConflictPolicy = ConflictPolicy.REFUSE,
        location: str = "restored",
        point: str = POINT,
        evidence: Evidence = EVIDENCE,
        deliveries: int = 1,
        organisation: str = ORGANISATION,
    ) -> None:
        """Decide on a requested recovery, as the handler does."""
        request = RecoveryRequested(
            request_id=f"request of {operation_id}",
            operation_id=operation_id,
            recovery_point_id=point,
            target_location=location,
            target_path=self.sealer.seal(organisation, TARGET_PATH_FIELD, path),
            target_digest=f"{location}/{path}",
            conflict_policy=policy,
            evidence=evidence,
            scope=None if scope is None else self.sealer.seal(organisation, SCOPE_FIELD, scope),
        )
        await self.hear(request, deliveries=deliveries, organisation=organisation)

    async def cancel(self, operation_id: str) -> None:
        """Decide on a requested cancellation, as the handler does."""
        await self.hear(
            RecoveryCancellationRequested(request_id="cancel-1", operation_id=operation_id, evidence=EVIDENCE)
        )

    async def hear(self, event: Event, *, deliveries: int = 1, organisation: str = ORGANISATION) -> None:
        """Deal with an event that the service takes, as its handler does."""
        cases = use_cases(
            RecordedOperations(self.store), self.points(), self.targets(), RecordedValidations(self.store)
        )
        name = next(name for name in event.TAKEN_BY if name.startswith("recovery--"))
        handling = Handling(
            context=Context(organisation=organisation, actor="user:u1", correlation_id="correlation-1"),
            handled=Handled(name, new_id()),
            deliveries=deliveries,
        )
        await deal_with(cases[type(event)], event, handling)

    async def told(self, operation_id: str) -> list[Event]:
        """All events of a recovery, each as its schema promises it."""
        envelopes = await self.store.history(operation_id)
        for envelope in envelopes:
            assert_as_promised(envelope)
        return [decode_data(envelope) for envelope in envelopes]

    async def names(self, operation_id: str) -> list[str]:
        """The names of its events, without owner, subject and version."""
        return [event.NAME.split(".")[1].removeprefix("recovery-") for event in await self.told(operation_id)]


@asynccontextmanager
async def recovery_bench(home: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[RecoveryBench]:
    """Put a recovery service together in a folder of its own, with a point of some files in two tiers."""
    (home / "restored").mkdir(parents=True)
    (home / "source" / "2027").mkdir(parents=True)
    for number in range(40):
        (home / "source" / "2027" / f"IMG_{number}.jpg").write_bytes(bytes([number]) * 50_000)
    (home / "source" / "contract.txt").write_text("between A and B " * 1000)
    entries = [("source", "source", "source"), ("restored", "target", "restored")]
    for name in TIERS:
        (home / "tiers" / name).mkdir(parents=True)
        entries.append((name, "tier", f"tiers/{name}"))
    registry = home / "locations.json"
    locations = [
        {
            "name": name,
            "kind": "directory",
            "roles": [role],
            "organisations": [ORGANISATION],
            "url": f"file://{home}/{at}",
        }
        for name, role, at in entries
    ]
    registry.write_text(json.dumps({"locations": locations}))
    prepare_keys_folder(home / "keys")
    (home / "keys" / "repositories").mkdir(mode=0o700, exist_ok=True)
    access = postgres.fresh(statements=STATEMENTS, prefix="recovery")
    store = EventStore(dsn=access.dsn, schema=access.schema, service="recovery")
    pool = open_pool(access.dsn, access.schema, name="test", max_size=POOL_CONNECTIONS)
    beats = open_pool(access.dsn, access.schema, name="test-beats", max_size=1)
    connection = nats_server.connection("recovery-worker", Telemetry("recovery-worker"), Health("recovery-worker"))
    parts = [store, PoolPart(pool), PoolPart(beats), connection]
    for part in parts:
        await part.start()
    try:
        bench = RecoveryBench(
            home=home,
            access=access,
            store=store,
            pool=pool,
            beats=beats,
            connection=connection,
            sealer=MakingSealer(home / "keys"),
            locations=Locations(registry),
        )
        await bench.catalogue(bench.back_up())
        yield bench
    finally:
        for part in reversed(parts):
            await part.stop()
        postgres.drop(access)
