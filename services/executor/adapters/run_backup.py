"""One run's backup on an open repository, which other runs may have as well: `OpenBackup`."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from contracts import errors
from contracts.configuration import Destination, Tier
from contracts.executor_events import ClassTotals, RunTotals, TierRoom
from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.fanout import Delivery
from repository.backup.result import is_emptied
from repository.backup.source import Reason, Source, SourceUnreachable
from repository.errors import BackupCancelled, LockNotProven, RepositoryError
from repository.opened.locking import lock_date
from repository.opened.open_tier import OpenTier, TierState
from repository.progress import Progress
from repository.upkeep.catch_up import catch_up, is_behind
from repository.upkeep.read_back import read_back
from services.executor.adapters.found_damage import FoundDamage, packs_of, telling
from services.executor.adapters.told import problem_report, progress_report
from services.executor.ports import BackupOutcome, ProgressReport, TierOutcome
from vault.open_repositories import Lease
from vault.places import Place, room_of
from vault.translation import code_of, facts, hint_of, translated

_log = logging.getLogger(__name__)

_MEMORY_HINT = (
    "The run begins when others of this worker have ended, in the order of arrival. Where it lasts, start another "
    "worker, or raise WEDSYNC_WORKER_MEMORY_MB: runs of different organisations need about 110 MiB each."
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

    def _room(self, tier: Tier) -> TierRoom:
        """What there is to be told of a tier that has just taken a snapshot: it answers."""
        self._at("asking what room is left", tier)
        return room_of(self._places[tier.value])

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
                room=self._room(tier),
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
