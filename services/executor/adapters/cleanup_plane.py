"""A cleanup over an organisation's repository, at all locations where it is remembered."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from chassis.claims.port import Claim
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.retention.planner import plan
from chassis.retention.points import Point, Source, Verdict
from chassis.retention.sources import source_of, wedding_of
from chassis.sealing import Sealer
from contracts.cleanup_events import GoingPoint, PlaceCleaned, PlaceHeld, WaitingPoint
from contracts.configuration import WEDDING_DATE_FIELD, ConfigurationBody
from repository.errors import RepositoryError, SnapshotHeld
from repository.log.state import holding
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, TierPlan, prune
from repository.retention import orders
from repository.retention.pin_watch import look
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.remembered import RememberedRepositories, why_not
from services.executor.adapters.tier_holds import TierHolds, follow_holds, hold_of
from services.executor.retention.plans import Assessment, Knowledge, KnownPoint
from services.executor.retention.ports import OpenCleanup
from vault.places import Place
from vault.translation import facts, translated

MAX_UNUSED = 0.02
"""Of what stays, so much may be waste: what policies have let go is not to lie on in packs of what they keep."""
REPACK_BYTES_MAX = 1 << 30
"""So much is stored again by one cleanup, at most, for the sake of packs that are mostly waste."""
FORGOTTEN_ELSEWHERE = "forgotten-elsewhere"
"""The rule that is told of a point that somebody had forgotten, by the command line say."""

_log = logging.getLogger(__name__)

T = TypeVar("T")


class RepositoryCleanups:
    """`CleanupPlane` on `repository/`."""

    def __init__(self, *, locations: Locations, sealer: Sealer, keys_dir: Path, begun: BegunRepositories) -> None:
        self._sealer = sealer
        self._remembered = RememberedRepositories(locations=locations, keys_dir=keys_dir, begun=begun)

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> OpenCleanup | None:
        """Open what is remembered. See `CleanupPlane.open`."""
        organisation = claim.organisation
        found = self._remembered.open(organisation, signs)
        if found is None:
            return None

        def opened(body: ConfigurationBody) -> tuple[bool, date | None]:
            return wedding_of(body, lambda sealed: self._sealer.open(organisation, WEDDING_DATE_FIELD, sealed))

        repository, places, note = found
        return RepositoryCleanup(repository, places, opened, note, claim.work_id, signs, is_cancelled)


class RepositoryCleanup:
    """`OpenCleanup` on an open repository; its tiers are called by their locations."""

    def __init__(
        self,
        repository: Repository,
        places: Mapping[str, Place],
        wedding: Callable[[ConfigurationBody], tuple[bool, date | None]],
        note: Callable[[], None],
        cleanup_id: str,
        signs: Signs,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._places = places
        self._wedding = wedding
        self._note = note
        self._cleanup_id = cleanup_id
        self._signs = signs
        self._is_cancelled = is_cancelled
        self._snapshot_of: dict[str, str] = {}
        self._untold: dict[str, RepositoryError] = {}

    def assess(self, known: Knowledge, decided: Mapping[str, GoingPoint], now: datetime) -> Assessment:
        """See `OpenCleanup.assess`."""
        with translated(self._places):
            for tier in self._repository.ready_tiers():
                self._attempt(tier, lambda tier=tier: tier.refresh())  # type: ignore[misc]  # mypy infers no default
            seen = _Seen(self._repository, list(self._readers()), self._places)
            clocks = [known.now, *self._clocks()]
        self._snapshot_of = {point.id: point.snapshot_id for point in known.points}
        gone: list[GoingPoint] = []
        by_configuration: dict[str, list[Point]] = {}
        unseen = 0
        for point in known.points:
            self._check()
            if seen.is_forgotten(point):
                other = _going(point.id, point.configuration_id, (FORGOTTEN_ELSEWHERE,))
                gone.append(decided.get(point.id, other))
            elif (judged := seen.point(point, known.configurations.get(point.configuration_id))) is None:
                unseen += 1
            else:
                by_configuration.setdefault(point.configuration_id, []).append(judged)
        sources = [self._source(each, points, known) for each, points in by_configuration.items()]
        going: list[GoingPoint] = []
        waiting: list[WaitingPoint] = []
        kept = overdue = 0
        for planned in plan(sources, now, known=known.newest, witnesses=clocks):
            for each in planned.judgements:
                overdue += each.is_overdue
                if each.verdict is Verdict.GO:
                    rules = tuple(reason.rule.value for reason in each.reasons)
                    going.append(_going(each.point.id, planned.source.id, rules))
                elif each.verdict is Verdict.WAIT and each.until is not None:
                    waiting.append(
                        WaitingPoint(
                            recovery_point_id=each.point.id, configuration_id=planned.source.id, until=each.until
                        )
                    )
                else:
                    kept += 1
        return Assessment(going=going, gone=gone, waiting=waiting, kept=kept, overdue=overdue, unseen=unseen)

    def forget(self, points: Sequence[GoingPoint]) -> Sequence[str]:
        """See `OpenCleanup.forget`."""
        self._check()
        ids = [self._snapshot_of[each.recovery_point_id] for each in points]
        with translated(self._places):
            try:
                done = orders.forget(self._repository, ids, f"retention cleanup {self._cleanup_id}")
            except SnapshotHeld as error:
                _log.warning("a hold came for what was to go", extra={"cleanup_id": self._cleanup_id, **facts(error)})
                return ()
        self._untold |= done.failed
        return list(done.tiers)

    def hold(self, known: Knowledge) -> Sequence[PlaceHeld]:
        """See `OpenCleanup.hold`."""
        with translated(self._places):
            for tier in self._repository.ready_tiers():
                self._attempt(tier, lambda tier=tier: tier.refresh())  # type: ignore[misc]  # mypy infers no default
            found = follow_holds(self._repository, known, self._check)
        self._note()
        return [self._held(location, found) for location in sorted(self._places)]

    def _held(self, location: str, found: TierHolds) -> PlaceHeld:
        tier = self._repository.tier(location)
        error = found.failed.get(location) if tier.is_ready else tier.error
        points = found.points.get(location, 0)
        if tier.is_ready and error is None:
            return PlaceHeld(location=location, points=points, on_objects=found.on_objects.get(location))
        code, hint = why_not(error, self._places[location])
        return PlaceHeld(location=location, points=points, code=code, hint=hint)

    def left_out(self) -> Sequence[PlaceCleaned]:
        """See `OpenCleanup.left_out`."""
        away = [tier.name for tier in self._repository.tiers if not tier.is_ready]
        return [self._cleaned(location, None) for location in sorted(away)]

    def prune(self) -> Sequence[PlaceCleaned]:
        """See `OpenCleanup.prune`."""
        with translated(self._places):
            plans = prune(
                self._repository, PruneOptions(max_unused=MAX_UNUSED, repack_bytes_max=REPACK_BYTES_MAX), self._check
            )
        self._note()
        return [self._cleaned(location, plans.get(location)) for location in sorted(self._places)]

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _cleaned(self, location: str, done: TierPlan | None) -> PlaceCleaned:
        tier = self._repository.tier(location)
        error = tier.error if done is None else done.failed or self._untold.get(location)
        code: str | None = None
        hint = ""
        if done is None or error is not None:
            code, hint = why_not(error, self._places[location])
        if done is None:
            return PlaceCleaned(location=location, code=code, hint=hint)
        return PlaceCleaned(
            location=location,
            code=code,
            hint=hint,
            freed_bytes=done.deleted_bytes,
            stored_bytes=done.stored_bytes,
            locked_bytes=done.locked_bytes,
            locked_until=max(done.locked.values(), default=None),
            pinned_bytes=sum(done.pinned.values()),
        )

    def _source(self, configuration_id: str, points: Sequence[Point], known: Knowledge) -> Source:
        body = known.configurations.get(configuration_id)
        if body is None:  # Its policy is not known: nothing of it goes.
            return Source(id=configuration_id, points=points)
        rules = known.rules.get(body.retention_policy_id or "")
        return source_of(configuration_id, body, points, rules, self._wedding(body))

    def _readers(self) -> Iterator[tuple[str, str]]:
        """Snapshots that a pin names, each with a name of it. What cannot be read of pins, a prune keeps bytes for."""
        for tier in self._repository.ready_tiers():
            found = self._attempt(tier, lambda tier=tier: look(self._repository, tier, is_noted=False))  # type: ignore[misc]  # as above
            for each in found or ():
                if each.pin is not None and not each.is_dead:
                    for snapshot in each.pin.snapshots:
                        yield snapshot.hex(), f"a restore from {tier.name} (pin {each.id.hex()[:12]})"

    def _clocks(self) -> Iterator[datetime]:
        for tier in self._repository.ready_tiers():
            with suppress(RepositoryError):
                yield tier.store.now().astimezone(UTC)

    def _attempt(self, tier: OpenTier, call: Callable[[], T]) -> T | None:
        """One tier that fails is away from then on, and told as that."""
        self._check()
        try:
            return call()
        except RepositoryError as error:
            tier.set_unreachable(error)
            return None

    def _check(self) -> None:
        if self._is_cancelled():
            raise RunInterrupted
        self._signs.moved()


class _Seen:
    """What the logs of the tiers that can be read say of snapshots."""

    def __init__(self, repository: Repository, readers: Sequence[tuple[str, str]], locations: Collection[str]) -> None:
        tiers = repository.readable_tiers()
        self._away = set(locations) - {tier.name for tier in tiers}
        self._states = {tier.name: tier.log.state for tier in tiers}
        self._snapshots = {tier.name: tier.snapshots() for tier in tiers}
        self._holds = orders.holds_of(repository)
        self._readers: dict[str, set[str]] = {}
        for snapshot, name in readers:
            self._readers.setdefault(snapshot, set()).add(name)

    def is_forgotten(self, point: KnownPoint) -> bool:
        """Whether some log calls it forgotten, and no hold contradicts."""
        snapshot = point.snapshot_id
        is_told = any(snapshot in state.forgotten for state in self._states.values())
        return is_told and not holding(snapshot, self._holds)

    def point(self, known: KnownPoint, body: ConfigurationBody | None) -> Point | None:
        """As the planner takes it; None where no tier has it. `body`: of its configuration.

        What a tier that is away has locked is not known: it is taken to be as the configuration asks.
        """
        snapshot = known.snapshot_id
        places = tuple(name for name, found in self._snapshots.items() if snapshot in found)
        if not places:
            return None
        ends = ((name, self._states[name].locked_until.get(snapshot, 0)) for name in places)
        asked = () if body is None else body.storage_destinations.by_tier().values()
        assumed = (
            (each.location, known.at.astimezone(UTC) + timedelta(days=each.lock_days))
            for each in asked
            if each.lock_days and each.location in self._away
        )
        # A hold of the record that is over goes on where the tiers have not followed yet.
        others = [each for each in holding(snapshot, self._holds) if hold_of(each) not in known.holds]
        return Point(
            id=known.id,
            at=known.at.astimezone(UTC),
            is_proven=known.is_proven,
            is_catch_up=known.is_catch_up,
            places=places,
            locks=(*((name, datetime.fromtimestamp(end, UTC)) for name, end in ends if end), *assumed),
            holds=(*(f"the hold {each}" for each in known.holds), *others),
            readers=(*known.readers, *sorted(self._readers.get(snapshot, ()))),
        )


def _going(point_id: str, configuration_id: str, rules: tuple[str, ...]) -> GoingPoint:
    return GoingPoint(recovery_point_id=point_id, configuration_id=configuration_id, rules=rules)
