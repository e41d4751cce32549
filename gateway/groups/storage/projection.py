"""The read models of storage, which the executor's stream alone changes: sums, repairs, optimisations.

The sums are added up, each event once: the projector applies an event exactly once.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from contracts.cleanup_events import PlaceCleaned, RecoveryPointsForgotten, RetentionCleanedUp
from contracts.envelope import Envelope
from contracts.erasure_events import RecoveryPointsErased
from contracts.executor_events import (
    BackupAccepted,
    BackupCancelled,
    BackupCompleted,
    BackupFailed,
    TierFailed,
    TierUploaded,
)
from contracts.optimization_events import (
    OPTIMIZATION_STATE_AFTER,
    OptimizationFact,
    PlaceOptimized,
    StorageOptimizationAccepted,
    StorageOptimized,
)
from contracts.reading import written_as
from contracts.repair_events import REPAIR_STATE_AFTER, RepairFact, StorageRepairAccepted
from gateway.groups.storage import optimizations, repairs
from gateway.projections.applied import Database, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.projections.work import Work, follow

_OPEN = """
    INSERT INTO {storage_runs} (execution_id, organisation, configuration_id, version)
    SELECT execution_id, organisation, configuration_id, version
    FROM json_populate_recordset(NULL::{storage_runs}, %s) ON CONFLICT (execution_id) DO NOTHING
"""
_FIND = "SELECT execution_id, configuration_id, version FROM {storage_runs} WHERE execution_id = ANY(%s)"
_CLOSE = "DELETE FROM {storage_runs} WHERE execution_id = ANY(%s)"
_CONFIGURATIONS = """
    INSERT INTO {storage_configurations} AS kept
    SELECT * FROM json_populate_recordset(NULL::{storage_configurations}, %s)
    ON CONFLICT (organisation, configuration_id) DO UPDATE SET
        points = kept.points + excluded.points, new_bytes = kept.new_bytes + excluded.new_bytes,
        stored_bytes = kept.stored_bytes + excluded.stored_bytes,
        latest_bytes = CASE WHEN excluded.latest_at > kept.latest_at
            THEN excluded.latest_bytes ELSE kept.latest_bytes END,
        latest_at = greatest(kept.latest_at, excluded.latest_at)
"""
_CLASSES = """
    INSERT INTO {storage_classes} AS kept SELECT * FROM json_populate_recordset(NULL::{storage_classes}, %s)
    ON CONFLICT (organisation, content_class) DO UPDATE SET
        source_bytes = kept.source_bytes + excluded.source_bytes, new_bytes = kept.new_bytes + excluded.new_bytes,
        stored_bytes = kept.stored_bytes + excluded.stored_bytes
"""
_TIERS = """
    INSERT INTO {storage_tiers} AS kept SELECT * FROM json_populate_recordset(NULL::{storage_tiers}, %s)
    ON CONFLICT (organisation, configuration_id, version, tier) DO UPDATE SET
        uploaded_bytes = kept.uploaded_bytes + excluded.uploaded_bytes,
        upload_seconds = kept.upload_seconds + excluded.upload_seconds, uploads = kept.uploads + excluded.uploads,
        failures = kept.failures + excluded.failures, uploaded_at = greatest(kept.uploaded_at, excluded.uploaded_at),
        code = CASE WHEN excluded.failed_at IS NOT NULL THEN excluded.code ELSE kept.code END,
        failed_at = greatest(kept.failed_at, excluded.failed_at),
        proven_at = greatest(kept.proven_at, excluded.proven_at),
        capacity_bytes = CASE WHEN excluded.measured_at IS NOT NULL
            THEN excluded.capacity_bytes ELSE kept.capacity_bytes END,
        free_bytes = CASE WHEN excluded.measured_at IS NOT NULL THEN excluded.free_bytes ELSE kept.free_bytes END,
        latency_seconds = CASE WHEN excluded.measured_at IS NOT NULL
            THEN excluded.latency_seconds ELSE kept.latency_seconds END,
        measured_at = greatest(kept.measured_at, excluded.measured_at)
"""
_TIER_DAYS = """
    INSERT INTO {storage_tier_days} AS kept SELECT * FROM json_populate_recordset(NULL::{storage_tier_days}, %s)
    ON CONFLICT (organisation, tier, day) DO UPDATE SET uploaded_bytes = kept.uploaded_bytes + excluded.uploaded_bytes
"""
_DAYS = """
    INSERT INTO {storage_days} AS kept SELECT * FROM json_populate_recordset(NULL::{storage_days}, %s)
    ON CONFLICT (organisation, day) DO UPDATE SET
        uploaded_bytes = kept.uploaded_bytes + excluded.uploaded_bytes,
        freed_bytes = kept.freed_bytes + excluded.freed_bytes
"""
_PLACES = """
    INSERT INTO {storage_places} AS kept SELECT * FROM json_populate_recordset(NULL::{storage_places}, %s)
    ON CONFLICT (organisation, location) DO UPDATE SET
        freed_bytes = kept.freed_bytes + excluded.freed_bytes, again_bytes = kept.again_bytes + excluded.again_bytes,
        locked_bytes = CASE WHEN excluded.cleaned_at > 'epoch' THEN excluded.locked_bytes ELSE kept.locked_bytes END,
        locked_until = CASE WHEN excluded.cleaned_at > 'epoch' THEN excluded.locked_until ELSE kept.locked_until END,
        pinned_bytes = CASE WHEN excluded.cleaned_at > 'epoch' THEN excluded.pinned_bytes ELSE kept.pinned_bytes END,
        cleaned_at = greatest(kept.cleaned_at, excluded.cleaned_at)
"""
_LOAD_REPAIRS = "SELECT repair_id, view::text FROM {storage_repairs} WHERE repair_id = ANY(%s)"
_STORE_REPAIRS = """
    INSERT INTO {storage_repairs} (repair_id, organisation, request_id, state, accepted_at, view)
    SELECT repair_id, organisation, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{storage_repairs}, %s)
    ON CONFLICT (repair_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""
_LOAD_OPTIMIZATIONS = "SELECT optimization_id, view::text FROM {storage_optimizations} WHERE optimization_id = ANY(%s)"
_STORE_OPTIMIZATIONS = """
    INSERT INTO {storage_optimizations} (optimization_id, organisation, request_id, state, accepted_at, view)
    SELECT optimization_id, organisation, request_id, state, accepted_at, view
    FROM json_populate_recordset(NULL::{storage_optimizations}, %s)
    ON CONFLICT (optimization_id) DO UPDATE SET state = excluded.state, view = excluded.view
"""
_EPOCH = "1970-01-01T00:00:00Z"
_ENDS = (BackupCompleted, BackupFailed, BackupCancelled)


class _Configuration(msgspec.Struct):
    organisation: str
    configuration_id: str
    points: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    latest_bytes: int = 0
    latest_at: datetime | str = _EPOCH


class _Class(msgspec.Struct):
    organisation: str
    content_class: str
    source_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0


class _Tier(msgspec.Struct):
    organisation: str
    configuration_id: str
    version: int
    tier: str
    uploaded_bytes: int = 0
    upload_seconds: float = 0.0
    uploads: int = 0
    failures: int = 0
    uploaded_at: datetime | None = None
    failed_at: datetime | None = None
    code: str | None = None
    proven_at: datetime | None = None
    capacity_bytes: int | None = None
    free_bytes: int | None = None
    latency_seconds: float | None = None
    measured_at: datetime | None = None


class _TierDay(msgspec.Struct):
    organisation: str
    tier: str
    day: str
    uploaded_bytes: int = 0


class _Day(msgspec.Struct):
    organisation: str
    day: str
    uploaded_bytes: int = 0
    freed_bytes: int = 0


class _Place(msgspec.Struct):
    organisation: str
    location: str
    freed_bytes: int = 0
    again_bytes: int = 0
    locked_bytes: int = 0
    locked_until: datetime | None = None
    pinned_bytes: int = 0
    cleaned_at: datetime | str = _EPOCH


class _Sums:
    """What a batch adds, by the keys of the tables. `runs`: configuration and version of each run that it names."""

    def __init__(self, runs: dict[str, tuple[str, int]]) -> None:
        self._runs = runs
        self.configurations: dict[tuple[str, str], _Configuration] = {}
        self.classes: dict[tuple[str, str], _Class] = {}
        self.tiers: dict[tuple[str, str, int, str], _Tier] = {}
        self.days: dict[tuple[str, str], _Day] = {}
        self.tier_days: dict[tuple[str, str, str], _TierDay] = {}
        self.places: dict[tuple[str, str], _Place] = {}

    def uploaded(self, envelope: Envelope, event: TierUploaded) -> None:
        """What a tier took."""
        day = self._day(envelope)
        day.uploaded_bytes += event.uploaded_bytes
        key = (envelope.organisation, written_as(event.tier), day.day)
        self.tier_days.setdefault(key, _TierDay(*key)).uploaded_bytes += event.uploaded_bytes
        for tier in self._tier(envelope, event.execution_id, written_as(event.tier)):
            tier.uploaded_bytes += event.uploaded_bytes
            tier.upload_seconds += event.seconds
            tier.uploads += 1
            tier.uploaded_at = envelope.time
            if (room := event.room) is not None:
                tier.capacity_bytes, tier.free_bytes = room.capacity_bytes, room.free_bytes
                tier.latency_seconds, tier.measured_at = room.latency_seconds, envelope.time

    def failed(self, envelope: Envelope, event: TierFailed) -> None:
        """What a tier did not take."""
        for tier in self._tier(envelope, event.execution_id, written_as(event.tier)):
            tier.failures += 1
            tier.failed_at, tier.code = envelope.time, event.code

    def completed(self, envelope: Envelope, event: BackupCompleted) -> None:
        """What a run has read, and what it had to store of it."""
        for each in event.verified:
            for tier in self._tier(envelope, event.execution_id, written_as(each)):
                tier.proven_at = envelope.time
        row = self._configuration(envelope, event.configuration_id)
        row.new_bytes += event.totals.new_bytes
        row.stored_bytes += event.totals.stored_bytes
        if event.is_recovery_point:
            row.points += 1
            row.latest_bytes, row.latest_at = event.totals.source_bytes, envelope.time
        for of in event.totals.by_class:
            key = (envelope.organisation, of.content_class)
            sums = self.classes.setdefault(key, _Class(*key))
            sums.source_bytes += of.source_bytes
            sums.new_bytes += of.new_bytes
            sums.stored_bytes += of.stored_bytes

    def forgotten(self, envelope: Envelope, event: RecoveryPointsForgotten | RecoveryPointsErased) -> None:
        """Points that are no more."""
        for each in event.points:
            self._configuration(envelope, each.configuration_id).points -= 1

    def cleaned(self, envelope: Envelope, places: Iterable[PlaceCleaned | PlaceOptimized]) -> None:
        """What locations gave back, and what they still keep. Of one that was left out nothing new is known."""
        for each in places:
            self._day(envelope).freed_bytes += each.freed_bytes - each.stored_bytes
            key = (envelope.organisation, each.location)
            place = self.places.setdefault(key, _Place(*key))
            place.freed_bytes += each.freed_bytes
            place.again_bytes += each.stored_bytes
            if each.code is not None:
                continue  # what it keeps was not looked at
            place.locked_bytes, place.locked_until = each.locked_bytes, each.locked_until
            place.pinned_bytes, place.cleaned_at = each.pinned_bytes, envelope.time

    def _day(self, envelope: Envelope) -> _Day:
        key = (envelope.organisation, envelope.time.date().isoformat())
        return self.days.setdefault(key, _Day(*key))

    def _configuration(self, envelope: Envelope, configuration_id: str) -> _Configuration:
        key = (envelope.organisation, configuration_id)
        return self.configurations.setdefault(key, _Configuration(*key))

    def _tier(self, envelope: Envelope, execution_id: str, tier: str) -> Iterable[_Tier]:
        """Where the tier of a run is added up; nowhere where nothing says of which configuration the run is."""
        if (run := self._runs.get(execution_id)) is None:
            return ()
        key = (envelope.organisation, *run, tier)
        return (self.tiers.setdefault(key, _Tier(*key)),)


class Storage(Projection):
    """What is stored, by configuration, class, tier and day; what locations gave back."""

    NAME = "storage"
    VERSION = 5
    EVENTS = (
        BackupAccepted,
        TierUploaded,
        TierFailed,
        *_ENDS,
        RecoveryPointsForgotten,
        RecoveryPointsErased,
        RetentionCleanedUp,
        StorageOptimized,
    )
    TABLES = (
        "storage_runs",
        "storage_configurations",
        "storage_classes",
        "storage_tiers",
        "storage_days",
        "storage_tier_days",
        "storage_places",
    )

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._open, self._find, self._close = self.sql(_OPEN), self.sql(_FIND), self.sql(_CLOSE)
        self._stores = [self.sql(each) for each in (_CONFIGURATIONS, _CLASSES, _TIERS, _DAYS, _TIER_DAYS, _PLACES)]

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        begun = {
            applied.event.execution_id: (applied.envelope.organisation, applied.event)
            for applied in batch.events
            if isinstance(applied.event, BackupAccepted)
        }
        named = {
            applied.event.execution_id
            for applied in batch.events
            if isinstance(applied.event, TierUploaded | TierFailed | BackupCompleted)
        }
        runs = {each: (event.configuration_id, event.configuration_version) for each, (_, event) in begun.items()}
        if older := list(named - runs.keys()):
            found = await (await database.execute(self._find, (older,))).fetchall()
            runs |= {each: (configuration, version) for each, configuration, version in found}
        sums = _Sums(runs)
        ended: list[str] = []
        for applied in batch.events:
            envelope = applied.envelope
            match applied.event:
                case TierUploaded() as event:
                    sums.uploaded(envelope, event)
                case TierFailed() as event:
                    sums.failed(envelope, event)
                case BackupCompleted() as event:
                    sums.completed(envelope, event)
                    ended.append(event.execution_id)
                case BackupFailed(execution_id=execution_id) | BackupCancelled(execution_id=execution_id):
                    ended.append(execution_id)
                case RecoveryPointsForgotten() | RecoveryPointsErased() as event:
                    sums.forgotten(envelope, event)
                case RetentionCleanedUp(dry_run=False, places=places):
                    sums.cleaned(envelope, places)
                case StorageOptimized(dry_run=False, optimized_places=optimized):
                    sums.cleaned(envelope, optimized)
        still = [
            {
                "execution_id": each,
                "organisation": organisation,
                "configuration_id": event.configuration_id,
                "version": event.configuration_version,
            }
            for each, (organisation, event) in begun.items()
            if each not in ended
        ]
        await upsert(database, self._open, still)
        if ended:
            await database.execute(self._close, (ended,))
        every: list[Mapping[Any, msgspec.Struct]] = [sums.configurations, sums.classes, sums.tiers, sums.days]
        for store, rows in zip(self._stores, [*every, sums.tier_days, sums.places], strict=True):
            await upsert(database, store, list(rows.values()))


class StorageRepairs(Projection):
    """Each repair: where it stands, and what was found and made whole at each location."""

    NAME = repairs.NAME
    VERSION = 2
    EVENTS = tuple(REPAIR_STATE_AFTER)
    TABLES = ("storage_repairs",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD_REPAIRS), self.sql(_STORE_REPAIRS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await follow(database, batch, _REPAIRS, load=self._load, store=self._store, name=self.NAME)


class StorageOptimizations(Projection):
    """Each optimisation: where it stands, and what was brought and freed at each location."""

    NAME = optimizations.NAME
    VERSION = 1
    EVENTS = tuple(OPTIMIZATION_STATE_AFTER)
    TABLES = ("storage_optimizations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._load, self._store = self.sql(_LOAD_OPTIMIZATIONS), self.sql(_STORE_OPTIMIZATIONS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await follow(database, batch, _OPTIMIZATIONS, load=self._load, store=self._store, name=self.NAME)


_REPAIRS = Work(
    fact=RepairFact,
    id_of=lambda fact: fact.repair_id,
    begins=StorageRepairAccepted,
    begun=repairs.begun,
    view=repairs.VIEW,
    row=repairs.row,
)


_OPTIMIZATIONS = Work(
    fact=OptimizationFact,
    id_of=lambda fact: fact.optimization_id,
    begins=StorageOptimizationAccepted,
    begun=optimizations.begun,
    view=optimizations.VIEW,
    row=optimizations.row,
)
