"""The data plane of a run: source, keys and tiers from the configuration, then the repository's backup.

An organisation has one repository, complete on each tier (`vault/`).
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from chassis.claims.port import Claim
from chassis.disk import Disk
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.executor_events import ClassTotals, RunTotals
from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.backup.result import is_emptied
from repository.backup.source import Reason, Source, SourceUnreachable
from repository.backup.workshop import Workshop
from repository.errors import BackupCancelled, LockNotProven, RepositoryError, TierUnreachable
from repository.format import ContentClass
from repository.opened.locking import lock_date
from repository.opened.open_tier import OpenTier, TierState
from repository.progress import Progress
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore
from repository.upkeep.catch_up import catch_up, is_behind
from repository.upkeep.read_back import read_back
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.found_damage import FoundDamage, packs_of, telling
from services.executor.adapters.required import require_tiers
from services.executor.adapters.run_sources import RunSources
from services.executor.adapters.told import problem_report, progress_report
from services.executor.kept import Replica
from services.executor.ports import BackupOutcome, OpenBackup, ProgressReport, TierOutcome
from vault.open_repositories import Lease, OpenRepositories
from vault.places import Place
from vault.repositories import Repositories
from vault.stores import patience_of, place_mark, tier_folder, tier_store
from vault.translation import code_of, facts, hint_of, translated
from vault.unusable import LocationUnusable, UnusableStore

_log = logging.getLogger(__name__)

NO_COMPRESSION_LEVEL = 0
_MEMORY_HINT = (
    "The run begins when others of this worker have ended, in the order of arrival. Where it lasts, start another "
    "worker, or raise WEDSYNC_WORKER_MEMORY_MB: runs of different organisations need about 110 MiB each."
)


class RepositoryDataPlane:
    """`DataPlane` on `repository/` and `sources/`."""

    def __init__(
        self,
        *,
        locations: Locations,
        sealer: Sealer,
        keys_dir: Path,
        own: OwnFolders,
        memory_bytes: int,
        begun: BegunRepositories,
        tier_reserve_bytes: int = 0,
        cache: LocalCache | None = None,
    ) -> None:
        """`memory_bytes`: for all runs together. `cache`: as of `Repository.open`."""
        repositories = Repositories(
            begun, keys_dir, place_at=self._place_at, reserve_bytes=tier_reserve_bytes, cache=cache
        )
        self._repositories = OpenRepositories(repositories, Workshop(memory_bytes))
        self._begun = begun
        self._locations = locations
        self._keys_dir = keys_dir
        self._own = own
        self._disks: dict[bytes, Disk] = {}
        self._sources = RunSources(locations, sealer, keys_dir, own, self._disk)

    def open(self, claim: Claim, configuration: Replica, signs: Signs) -> OpenBackup:
        """Try source, keys and tiers. See `DataPlane.open`."""
        organisation, body = claim.organisation, configuration.body
        source_place = f"the source at {body.source_location}"
        source = self._sources.open(organisation, body, signs)
        destinations = body.storage_destinations.by_tier()
        tiers = ", ".join(f"{tier} at {destination.location}" for tier, destination in destinations.items())
        signs.at("opening", f"the tiers {tiers}", errors.TIER_UNREACHABLE)
        places: dict[str, Place] = {}
        lease: Lease | None = None
        try:
            for each, destination in destinations.items():
                places[each.value] = self._place(organisation, each.value, destination)
            damage = {
                tier: FoundDamage(self._begun, organisation, each.location) for tier, each in destinations.items()
            }
            with telling(damage), translated(places):
                lease = self._repositories.lease(organisation, list(places.values()), signs)
                for tier in lease.repository.tiers:
                    if tier.error is not None:
                        _log.warning("a tier is not as it should be", extra={"tier": tier.name, **facts(tier.error)})
                require_tiers(lease.repository, destinations, places)
        except BaseException:
            if lease is not None:
                lease.release(is_doubtful=True)
            else:
                for place in places.values():
                    place.store.close()
            source.close()
            raise
        return RepositoryBackup(
            lease,
            source,
            source_place,
            destinations,
            places,
            damage,
            signs,
            BackupOptions(
                run_token=claim.work_id,
                label=configuration.configuration_id,
                compression=None if body.compression_enabled else dict.fromkeys(ContentClass, NO_COMPRESSION_LEVEL),
                required=frozenset(tier.value for tier, each in destinations.items() if each.required),
                lock_days={tier.value: each.lock_days for tier, each in destinations.items() if each.lock_days},
            ),
        )

    def _disk(self, folder: bytes) -> Disk:
        return self._disks.setdefault(folder, Disk(Path(os.fsdecode(folder))))

    def _own_trouble(self, location: str, folder: bytes, tier: str) -> RepositoryError | None:
        """What keeps a folder from being a tier: it is the platform's own, or nobody knows whether it is."""
        try:
            is_own = self._disk(folder).answer(partial(self._own.hold_tier, folder))
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            return TierUnreachable(
                f"whether the location {location} lies in a folder of the platform's own cannot be told: {reason}",
                tier=tier,
            )
        if is_own:
            return LocationUnusable(f"the location {location} lies in a folder of the platform's own", tier=tier)
        return None

    def _folder_mark(self, folder: bytes, mark: Hashable) -> Hashable | None:
        """With which folder it is: another disk may have been mounted there. None where its disk does not say."""
        try:
            found = self._disk(folder).answer(partial(os.stat, folder))
        except OSError:
            return None
        return (mark, found.st_dev, found.st_ino)

    def _place_at(self, organisation: str, location: str) -> Place:
        """Where the organisation's repository may be though its run does not name the location."""
        return self._place(organisation, f"the one at {location}", Destination(location=location))

    def _place(self, organisation: str, tier: str, destination: Destination) -> Place:
        folder = tier_folder(self._locations, organisation, destination.location)
        trouble = None if folder is None else self._own_trouble(destination.location, folder, tier)

        def store_of(organisation: str) -> ObjectStore:
            if trouble is not None:
                return UnusableStore(tier, trouble)
            return tier_store(self._locations, self._keys_dir, organisation, tier, destination)

        mark = place_mark(self._locations, self._keys_dir, organisation, tier, destination)
        if folder is not None and mark is not None:
            mark = None if trouble is not None else self._folder_mark(folder, mark)
        return Place(
            store=store_of(organisation),
            mark=mark,
            location=destination.location,
            folder=None if trouble is not None else folder,
            patience_seconds=patience_of(destination),
            store_of=store_of,
            is_required=destination.required,
        )


class RepositoryBackup:
    """One run's backup: `OpenBackup` on an open repository, which other runs may have as well."""

    def __init__(
        self,
        lease: Lease,
        source: Source,
        source_place: str,
        destinations: dict[Tier, Destination],
        places: dict[str, Place],
        damage: dict[Tier, FoundDamage],
        signs: Signs,
        options: BackupOptions,
    ) -> None:
        self._lease = lease
        self._repository = lease.repository
        self._is_doubtful = False
        self._source = source
        self._source_place = source_place
        self._destinations = destinations
        self._places = places
        self._signs = signs
        self._options = options
        self._packs: frozenset[bytes] | None = None
        self._damage = damage
        self._parent_error: RepositoryError | None = None
        self._brought: Counter[tuple[str, str]] = Counter()

    def copy(
        self,
        *,
        on_begin: Callable[[], None],
        on_progress: Callable[[ProgressReport], None],
        is_cancelled: Callable[[], bool],
    ) -> BackupOutcome:
        """Catch up what is behind, then back up. See `OpenBackup.copy`."""
        before: ProgressReport | None = None

        def tell(progress: Progress) -> None:
            nonlocal before
            report = progress_report(progress)
            if report != before:
                before = report
                self._copying(report)
            on_progress(report)

        def begin() -> None:
            self._signs.at("recording that it begins", "the record", errors.UNAVAILABLE)
            on_begin()
            self._signs.at("backing up", self._source_place, errors.SOURCE_UNREACHABLE)

        options = replace(
            self._options,
            on_progress=tell,
            on_waiting=self._waiting_for_memory,
            on_begin=begin,
            is_cancelled=is_cancelled,
        )
        # Until it has gone well: what broke off may have left a tier in the middle of something.
        self._is_doubtful = True
        with telling(self._damage), translated(self._places):
            for tier in self._repository.tiers:
                if tier.is_ready or tier.state is TierState.EMPTY:
                    self._catch_up(tier, is_cancelled)
            tiers = self._named(self._destinations)
            self._signs.at("beginning at its tiers", f"the tiers {tiers}", errors.TIER_UNREACHABLE)
            try:
                result = backup(self._repository, self._source, options=options, sharing=self._lease.sharing)
            except (BackupCancelled, SourceUnreachable):
                self._is_doubtful = False
                raise
            for name, outcome in result.tiers.items():
                if outcome.state is not Delivery.COMMITTED:
                    self._catch_up(self._repository.tier(name), is_cancelled)
            self._lease.remember()
        self._packs = result.packs
        self._parent_error = result.parent_error
        self._is_doubtful = any(each.state is not Delivery.COMMITTED for each in result.tiers.values())
        return self._outcome(result)

    def _waiting_for_memory(self) -> None:
        if self._signs.code is not errors.MEMORY_TAKEN:  # that it goes on waiting is no sign of life
            self._signs.at("waiting for memory", "the worker's other runs", errors.MEMORY_TAKEN, hint=_MEMORY_HINT)

    def _copying(self, report: ProgressReport) -> None:
        """A byte or a file further. What is waited for: a tier that has not taken its packs yet, else the source."""
        waiting = [tier for tier, _, _, bytes_waiting in report.tiers if bytes_waiting]
        if waiting:
            self._signs.at("backing up", f"the tiers {self._named(waiting)}", errors.TIER_UNREACHABLE)
        else:
            self._signs.at("backing up", self._source_place, errors.SOURCE_UNREACHABLE)

    def _named(self, tiers: Iterable[Tier]) -> str:
        """Tiers, each with its location."""
        return ", ".join(f"{tier} at {self._destinations[tier].location}" for tier in tiers)

    def verify(self, outcome: BackupOutcome, tier: Tier) -> str | None:
        """Read the snapshot and a sample of its packs back from a tier. See `OpenBackup.verify`."""
        self._at("verifying", tier)
        damage = self._damage[tier]
        suspects = [*damage.packs, *packs_of(self._parent_error)]
        try:
            opened = self._repository.tier(tier.value)
            read_back(self._repository, opened, outcome.snapshot_id, packs=self._packs, suspects=suspects)
        except RepositoryError as error:
            damage.note(error)
            self._is_doubtful = True
            _log.error("a tier could not be read back", extra={"tier": tier, "code": error.code, **facts(error)})
            code = code_of(error).code
            damage.tell(code)
            return code
        damage.forget()
        return None

    def close(self) -> None:
        """Give the source and the repository back; its tiers are closed when nobody has it and nobody comes for it."""
        self._source.close()
        self._lease.release(is_doubtful=self._is_doubtful or self._signs.is_left)

    def _catch_up(self, tier: OpenTier, is_cancelled: Callable[[], bool]) -> None:
        """Bring a tier what the others have. A tier that fails here fails alone, and is judged by what it lacks."""

        def check_cancelled() -> None:
            if is_cancelled():
                raise RunInterrupted

        def on_waiting() -> None:
            check_cancelled()
            self._signs.moved()

        self._at("catching up", Tier(tier.name))
        try:
            if not self._is_behind(tier):
                return
            with self._lease.upkeep(on_waiting):
                if self._is_behind(tier):
                    brought = catch_up(
                        self._repository,
                        tier,
                        lock_until=self._lock_until(tier),
                        check_cancelled=check_cancelled,
                        on_progress=lambda _: self._signs.moved(),
                    )
                    self._brought[tier.name, "bytes"] += brought.copied_bytes
                    self._brought[tier.name, "packs"] += brought.copied_packs
        except RepositoryError as error:
            _log.warning("a tier could not be caught up", extra={"tier": tier.name, "code": error.code, **facts(error)})

    def _is_behind(self, tier: OpenTier) -> bool:
        return tier.state is TierState.EMPTY or is_behind(self._repository, tier)

    def _at(self, step: str, tier: Tier) -> None:
        location = self._destinations[tier].location
        self._signs.at(step, f"the tier {tier} at {location}", errors.TIER_UNREACHABLE)

    def _lock_until(self, tier: OpenTier) -> datetime | None:
        return lock_date(tier.store, self._options.lock_days.get(tier.name, 0))

    def _outcome(self, result: BackupResult) -> BackupOutcome:
        totals = result.totals
        tiers = tuple(self._tier_outcome(result, tier, each) for tier, each in self._destinations.items())
        for each in tiers:
            self._damage[each.tier].tell(each.code)
        return BackupOutcome(
            snapshot_id=result.snapshot_id,
            totals=RunTotals(
                files=totals.files,
                source_bytes=totals.source_bytes,
                new_bytes=totals.new_bytes,
                stored_bytes=totals.stored_bytes,
                unreadable_files=totals.failed,
                left_out_folders=result.error_counts.get(Reason.EXCLUDED, 0),
                by_class=tuple(
                    ClassTotals(
                        content_class=name,
                        source_bytes=each.source_bytes,
                        new_bytes=each.new_bytes,
                        stored_bytes=each.stored_bytes,
                    )
                    for name, each in sorted(result.by_class.items())
                ),
            ),
            tiers=tiers,
            report=problem_report(result),
            is_emptied=is_emptied(result.snapshot, self._repository.snapshots(self._options.label)),
        )

    def _tier_outcome(self, result: BackupResult, tier: Tier, destination: Destination) -> TierOutcome:
        opened = self._repository.tier(tier.value)
        delivered = result.tiers.get(tier.value)
        is_unlocked = delivered is not None and isinstance(delivered.error, LockNotProven)
        # A tier that went back may have an earlier try's snapshot, and is good for none.
        if result.snapshot_id in opened.snapshots() and not is_unlocked and opened.state is not TierState.REPLAYED:
            return TierOutcome(
                tier=tier,
                required=destination.required,
                location=destination.location,
                log_entry=opened.log.state.entry_of[result.snapshot_id],
                uploaded_bytes=self._brought[tier, "bytes"] + (delivered.bytes_sent if delivered else 0),
                objects=self._brought[tier, "packs"] + (delivered.packs_sent if delivered else 0),
                seconds=delivered.seconds if delivered else 0.0,
            )
        error = (delivered.error if delivered else None) or opened.error
        code = code_of(error)
        if code is errors.INTERNAL:
            code = errors.TIER_UNUSABLE if opened.state is not TierState.READY else errors.TIER_BEHIND
        return TierOutcome(
            tier=tier,
            required=destination.required,
            location=destination.location,
            code=code.code,
            hint=hint_of(code, error, self._places[tier.value]),
        )
