"""An optimisation over an organisation's repository, at all locations where it is remembered.

What is owed to a location is brought first (`catch_up`), then what nothing needs goes, and packs that are mostly waste
are written again (`prune`). Nothing is forgotten by it, and what a writer may count on stays.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chassis.claims.port import Claim
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts.optimization_events import PlaceOptimized
from repository.errors import NoUsableTier, RepositoryError
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, TierPlan, prune
from repository.upkeep.catch_up import CatchUpResult, Lag, catch_up, lag
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.remembered import RememberedRepositories, why_not
from services.executor.repairing.optimizing import OpenOptimization
from vault.places import Place
from vault.translation import translated


class RepositoryOptimizations:
    """`Plane` of optimisations, on `repository/`."""

    def __init__(self, *, locations: Locations, keys_dir: Path, begun: BegunRepositories) -> None:
        self._remembered = RememberedRepositories(locations=locations, keys_dir=keys_dir, begun=begun)

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> OpenOptimization | None:
        """Open what is remembered. See `Plane.open`."""
        found = self._remembered.open(claim.organisation, signs)
        if found is None:
            return None
        return RepositoryOptimization(found.repository, found.places, found.note, signs, is_cancelled)


class RepositoryOptimization:
    """`OpenOptimization` on an open repository; its tiers are called by their locations."""

    def __init__(
        self,
        repository: Repository,
        places: Mapping[str, Place],
        note: Callable[[], None],
        signs: Signs,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._places = places
        self._note = note
        self._signs = signs
        self._is_cancelled = is_cancelled
        self._owed: dict[str, Lag] = {}
        self._brought: dict[str, CatchUpResult] = {}
        self._failed: dict[str, RepositoryError] = {}

    def plan(self, allowed_bytes: int) -> Sequence[PlaceOptimized]:
        """See `OpenOptimization.plan`."""
        return self._optimize(allowed_bytes, dry_run=True)

    def optimize(self, allowed_bytes: int) -> Sequence[PlaceOptimized]:
        """See `OpenOptimization.optimize`."""
        return self._optimize(allowed_bytes, dry_run=False)

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _optimize(self, allowed_bytes: int, *, dry_run: bool) -> Sequence[PlaceOptimized]:
        with translated(self._places):
            for tier in self._repository.ready_tiers():
                self._attempt(tier, dry_run=dry_run)
            options = PruneOptions(repack_bytes_max=allowed_bytes, dry_run=dry_run)
            plans = prune(self._repository, options, self._check)
        if not dry_run:
            self._note()
        return [self._told(location, plans.get(location), dry_run=dry_run) for location in sorted(self._places)]

    def _attempt(self, tier: OpenTier, *, dry_run: bool) -> None:
        """What is owed to a tier; brought, where it is not only looked at. One that fails keeps no other one back."""
        self._check()
        try:
            tier.refresh()
            owed = self._owed[tier.name] = lag(self._repository, tier)
            if owed.is_behind and not dry_run:
                self._brought[tier.name] = catch_up(self._repository, tier, check_cancelled=self._check)
        except NoUsableTier as error:
            self._failed[tier.name] = error  # There is no other one that has what it lacks.
        except RepositoryError as error:
            tier.set_unreachable(error)

    def _told(self, location: str, done: TierPlan | None, *, dry_run: bool) -> PlaceOptimized:
        tier = self._repository.tier(location)
        error = tier.error if done is None else done.failed or self._failed.get(location)
        code: str | None = None
        hint = ""
        if done is None or error is not None:
            code, hint = why_not(error, self._places[location])
        if done is None:
            return PlaceOptimized(location=location, code=code, hint=hint)
        owed, brought = self._owed.get(location), self._brought.get(location)
        return PlaceOptimized(
            location=location,
            code=code,
            hint=hint,
            kept_bytes=done.total_bytes,
            owed_packs=0 if owed is None else len(owed.packs),
            owed_points=0 if owed is None else len(owed.snapshots),
            copied_bytes=0 if brought is None else brought.copied_bytes,
            freed_bytes=sum(done.going.values()) if dry_run else done.deleted_bytes,
            stored_bytes=done.moving_bytes if dry_run else done.stored_bytes,
            locked_bytes=done.locked_bytes,
            locked_until=max(done.locked.values(), default=None),
            pinned_bytes=sum(done.pinned.values()),
            unclaimed_bytes=sum(done.unreferenced.values()),
        )

    def _check(self) -> None:
        if self._is_cancelled():
            raise RunInterrupted
        self._signs.moved()
