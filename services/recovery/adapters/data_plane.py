"""The data plane of a recovery: the organisation's repository where it may lie, and a folder to restore to."""

import errno
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chassis.claims.port import Claim, ProgressReport
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.recovery_events import SCOPE_FIELD, UNMATCHED, RecoveryTotals, TierBytes, TroubleCount
from repository.errors import TargetFailed
from repository.opened.repository import Repository
from repository.progress import Progress
from repository.restore.compare import compare
from repository.restore.options import Conflict, RestoreOptions, RestoreResult
from repository.restore.restore import restore
from repository.stored.snapshot import Snapshot
from services.recovery.adapters.places import places_of, told
from services.recovery.adapters.targets import LookedAtTargets
from services.recovery.kept import Order
from services.recovery.ports import OpenRestore, Restored
from vault.places import Place
from vault.reading import open_to_read

_FULL = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT)}


class RepositoryRestores:
    """`DataPlane` on `repository/`. One object a process."""

    def __init__(self, *, locations: Locations, sealer: Sealer, keys_dir: Path, targets: LookedAtTargets) -> None:
        self._locations = locations
        self._sealer = sealer
        self._keys_dir = keys_dir
        self._targets = targets

    def open(self, claim: Claim, order: Order, signs: Signs) -> OpenRestore:
        """Try target, keys and tiers. See `DataPlane.open`."""
        organisation = claim.organisation
        folder = self._targets.folder(organisation, order)
        scope = () if order.scope is None else self._sealer.open(organisation, SCOPE_FIELD, order.scope).split("\n")
        named = ", ".join(f"{each.tier} at {each.location}" for each in order.places)
        signs.at("opening", f"the tiers {named}", errors.TIER_UNREACHABLE)
        with ExitStack() as stack:
            places: dict[str, Place] = {}
            for name, place in places_of(self._locations, self._keys_dir, organisation, order.places):
                stack.callback(place.store.close)
                places[name] = place
            with told(places):
                repository = open_to_read(organisation, list(places.values()), self._keys_dir, signs)
            with told(places, repository.tiers):
                snapshot = repository.find_snapshot(order.snapshot_id)
            stack.pop_all()
        return RepositoryRestore(repository, snapshot, places, folder, tuple(scope), order, signs)


class RepositoryRestore:
    """One recovery's restore: `OpenRestore`."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        places: dict[str, Place],
        folder: bytes,
        scope: tuple[str, ...],
        order: Order,
        signs: Signs,
    ) -> None:
        self._repository = repository
        self._snapshot = snapshot
        self._places = places
        self._folder = folder
        self._scope = scope
        self._order = order
        self._signs = signs

    def restore(self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]) -> Restored:
        """Write the folder and read it back. See `OpenRestore.restore`."""
        self._signs.at("restoring", f"the target at {self._order.target_location}, or a tier", errors.TIER_UNREACHABLE)
        before: ProgressReport | None = None

        def tell(progress: Progress) -> None:
            nonlocal before
            report = _report(progress)
            if report != before:
                before = report
                self._signs.moved()
            on_progress(report)

        options = RestoreOptions(
            globs=self._scope,
            conflict=Conflict(self._order.conflict_policy.value),
            verify=True,
            on_progress=tell,
            is_cancelled=is_cancelled,
        )
        with told(self._places, self._repository.tiers):
            try:
                result = restore(self._repository, self._snapshot, self._folder, options=options)
            except TargetFailed as error:
                raise self._failed(error) from error
            differences = self._differences(result, is_cancelled)
        missing = self._snapshot.manifest.totals.failed
        return Restored(
            totals=_totals(result, differences),
            missing_in_point=missing,
            is_whole=result.is_whole and not differences,
            has_losses=result.has_losses,
            asked=len(set(self._scope)),
            unmatched=len(result.unmatched),
        )

    def _differences(self, result: RestoreResult, is_cancelled: Callable[[], bool]) -> Counter[str]:
        """What a second look at the target finds, beyond what the restore has told, where one is asked for."""
        if not self._order.is_compared or not result.is_whole:
            return Counter()
        self._signs.at("comparing", f"the target at {self._order.target_location}", errors.TARGET_UNUSABLE)

        def is_over() -> bool:
            self._signs.moved()  # Asked for each chunk: what is read is progress.
            return is_cancelled()

        try:
            compared = compare(self._repository, self._snapshot, self._folder, is_cancelled=is_over)
        except OSError as error:
            raise self._failed(TargetFailed("target cannot be read", reason=error.strerror or "?")) from error
        told = Counter({reason.value: count for reason, count in result.trouble_counts.items()})
        return Counter({kind.value: count for kind, count in compared.differences.items()}) - told

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _failed(self, error: TargetFailed) -> PlatformError:
        """What is wrong with the target, by the name of its location."""
        reason = str(error.context.get("reason", ""))
        code = errors.TARGET_FULL if reason in _FULL else errors.TARGET_UNUSABLE
        hint = f"The target in the location {self._order.target_location}: {reason.lower()}. {code.hint}"
        return PlatformError(code, f"the target cannot be written: {reason.lower()}", hint=hint)


def _report(progress: Progress) -> ProgressReport:
    return ProgressReport(
        files_done=progress.files_done,
        files_total=progress.files_found if progress.is_walk_complete else None,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_found if progress.is_walk_complete else None,
        tiers=(),
    )


def _totals(result: RestoreResult, differences: Counter[str]) -> RecoveryTotals:
    counts = Counter({reason.value: count for reason, count in result.trouble_counts.items()}) + differences
    if result.unmatched:
        counts[UNMATCHED] = len(result.unmatched)  # How many, and not which: they are personal.
    return RecoveryTotals(
        files=result.files,
        folders=result.folders,
        bytes=result.bytes,
        resumed_files=result.resumed_files,
        renamed=result.renamed,
        read_from=tuple(TierBytes(tier=name, bytes=count) for name, count in sorted(result.bytes_by_tier.items())),
        troubles=tuple(TroubleCount(reason=reason, entries=count) for reason, count in sorted(counts.items())),
    )
