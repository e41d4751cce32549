"""A validation over the tiers where a recovery point may lie: `repo check`, told in the words of recovery points.

Nothing is written to any tier but a pin, which is there for as long as it is read. What is checked are tiers, whole:
they share what they store, so that what is damaged there may harm any recovery point of the organisation, and all that
it harms are told.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from chassis.claims.port import Claim, ProgressReport
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from contracts.errors import PlatformError
from contracts.validation_events import ObjectDamaged, TierValidated, TierWholeness, ValidationDepth
from repository.errors import RepositoryError, SnapshotNotFound
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.repository import Repository
from repository.retention.pins import pinned
from repository.upkeep.check import check
from repository.upkeep.check_report import CheckProgress, CheckReport, Finding, Problem
from services.recovery.adapters.places import places_of, told
from services.recovery.adapters.tiers_told import TOLD_MAX
from services.recovery.errors import TiersUnusable
from services.recovery.failures import told_code
from services.recovery.validating.found import Found, ValidationOrder
from services.recovery.validating.ports import OpenValidation
from vault.places import Place
from vault.reading import open_to_read
from vault.translation import code_of, hint_of

SAMPLE_PERCENT = 5.0
READ_PERCENT: Mapping[ValidationDepth, float] = {
    ValidationDepth.STRUCTURE: 0.0,
    ValidationDepth.SAMPLE: SAMPLE_PERCENT,
    ValidationDepth.WHOLE: 100.0,
}
"""Of its packs a tier is asked for so many; a sample is one pack at least."""
_LACKING = "A run, or a catch-up, of its configuration brings the tier what it lacks."
_FORGOTTEN = "It was forgotten there, as a retention policy or somebody has ordered: this is no damage."


class RepositoryValidations:
    """`ValidationPlane` on `repository/`."""

    def __init__(self, *, locations: Locations, keys_dir: Path) -> None:
        self._locations = locations
        self._keys_dir = keys_dir

    def open(self, claim: Claim, order: ValidationOrder, signs: Signs) -> OpenValidation:
        """Open what answers. See `ValidationPlane.open`."""
        organisation = claim.organisation
        named = ", ".join(f"{each.tier} at {each.location}" for each in order.places)
        signs.at("opening", f"the tiers {named}", errors.TIER_UNREACHABLE)
        with ExitStack() as stack:
            places: dict[str, Place] = {}
            for name, place in places_of(self._locations, self._keys_dir, organisation, order.places):
                stack.callback(place.store.close)
                places[name] = place
            with told(places):
                repository = open_to_read(organisation, list(places.values()), self._keys_dir, signs)
            stack.pop_all()
        return RepositoryValidation(repository, places, order, signs)


class RepositoryValidation:
    """`OpenValidation` on an open repository."""

    def __init__(
        self, repository: Repository, places: Mapping[str, Place], order: ValidationOrder, signs: Signs
    ) -> None:
        self._repository = repository
        self._places = places
        self._order = order
        self._signs = signs

    def read(self, *, on_progress: Callable[[ProgressReport], None], is_cancelled: Callable[[], bool]) -> Found:
        """See `OpenValidation.read`."""
        self._signs.at("reading", f"the tiers {', '.join(self._places)}", errors.TIER_UNREACHABLE)
        packs: dict[str, CheckProgress] = {}

        def tell(progress: CheckProgress) -> None:
            packs[progress.tier] = progress
            self._signs.moved()
            # Packs are what is counted: how many there are of the tiers to come is not known yet.
            on_progress(
                ProgressReport(
                    files_done=sum(each.packs_done for each in packs.values()),
                    files_total=None,
                    bytes_done=sum(each.bytes_done for each in packs.values()),
                    bytes_total=None,
                    tiers=(),
                )
            )

        def look() -> None:
            if is_cancelled():
                raise RunInterrupted
            self._signs.moved()

        with told(self._places, self._repository.tiers):
            # What a prune deletes meanwhile would be called lost.
            with pinned(self._repository, "validation", everything=True):
                report = check(
                    self._repository,
                    read_percent=READ_PERCENT[self._order.depth],
                    on_progress=tell,
                    check_cancelled=look,
                )
            self._see_what_was_forgotten()
            tiers = [self._tier(name, report) for name in self._places]
            if not any(each.verdict in (TierWholeness.WHOLE, TierWholeness.DAMAGED) for each in tiers):
                forgotten = [each for each in tiers if each.hint == _FORGOTTEN]
                if forgotten:
                    raise TiersUnusable(errors.RECOVERY_POINT_MISSING, "the point was forgotten", _shown(forgotten))
                if not any(each.verdict is TierWholeness.LACKING for each in tiers):
                    raise self._nothing(tiers)
                raise SnapshotNotFound("no tier that answers has the recovery point")
        return Found(tiers=tiers, objects=_objects(report), harmed=_harmed(report))

    def _see_what_was_forgotten(self) -> None:
        """Read the logs anew: a point that was there at first may be forgotten by now, and is not called whole."""
        for tier in self._repository.readable_tiers():
            with suppress(RepositoryError):
                tier.refresh()

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _tier(self, name: str, report: CheckReport) -> TierValidated:
        location = self._places[name].location
        tier = next((each for each in self._repository.tiers if each.name == name), None)
        broken = next((each for each in report.findings if each.tier == name and each.problem is Problem.TIER), None)
        counts = report.tiers.get(name)
        if tier is None or counts is None or broken is not None:
            # It has not answered, or not to the end: what was found by then is told, and is not all.
            code, hint = self._why_not(name, tier)
            damages = len(_damaged(report, name))
            verdict = TierWholeness.DAMAGED if damages else TierWholeness.NOT_LOOKED_AT
            return TierValidated(
                tier=name,
                location=location,
                verdict=verdict,
                code=code,
                hint=hint,
                damages=damages,
                read_bytes=0 if counts is None else counts.bytes_read,
                stored_bytes=0 if counts is None else counts.pack_bytes,
            )
        damages = len(_damaged(report, name))
        has_point = self._order.snapshot_id in tier.snapshots() and not self._is_erased(name, report)
        is_forgotten = self._order.snapshot_id in tier.log.state.forgotten
        verdict = TierWholeness.DAMAGED if damages else TierWholeness.WHOLE if has_point else TierWholeness.LACKING
        return TierValidated(
            tier=name,
            location=location,
            verdict=verdict,
            code=None if has_point else errors.RECOVERY_POINT_MISSING.code,
            hint="" if has_point else _FORGOTTEN if is_forgotten else _LACKING,
            damages=damages,
            harms_point=not has_point or self._order.snapshot_id in report.harmed.get(name, ()),
            read_bytes=counts.bytes_read,
            stored_bytes=counts.pack_bytes,
        )

    def _is_erased(self, name: str, report: CheckReport) -> bool:
        """Whether the point's keys were destroyed, so that it is there and nobody can read it, or parts of it."""
        of_point = (name, Problem.ERASED, f"snapshot {self._order.snapshot_id}")
        return any((each.tier, each.problem, each.object_key) == of_point for each in report.findings)

    def _why_not(self, name: str, tier: OpenTier | None) -> tuple[str, str]:
        error: RepositoryError | None = None if tier is None else tier.error
        found = errors.TIER_UNREACHABLE if error is None else code_of(error)
        if tier is not None and tier.state is TierState.EMPTY:
            found = errors.TIER_VANISHED  # The record says that a repository lies there.
        found = errors.TIER_UNUSABLE if found is errors.INTERNAL else told_code(found)
        return found.code, hint_of(found, error, self._places[name])

    @staticmethod
    def _nothing(tiers: list[TierValidated]) -> PlatformError:
        """That no tier was looked at, by the first one's code, which is in the catalogue."""
        first = [each.code or "" for each in tiers]
        code = next((known for known in map(errors.catalogue().get, first) if known), errors.TIER_UNREACHABLE)
        return TiersUnusable(code, "no tier could be looked at", _shown(tiers))


def _shown(tiers: Sequence[TierValidated]) -> str:
    return "; ".join(f"{each.location} (the tier {each.tier}): {each.hint}" for each in tiers[:TOLD_MAX])


def _damaged(report: CheckReport, name: str) -> list[Finding]:
    """The damage of a tier, without that it could not be looked at, which is told as that."""
    return [each for each in report.damage if each.tier == name and each.problem is not Problem.TIER]


def _objects(report: CheckReport) -> list[ObjectDamaged]:
    return [
        ObjectDamaged(
            tier=each.tier,
            problem=each.problem.value,
            object_key=each.object_key,
            repairable_from=each.repairable_from,
            not_read_on=each.not_read_on,
        )
        for each in report.damage
        if each.problem is not Problem.TIER
    ]


def _harmed(report: CheckReport) -> list[tuple[str, tuple[str, ...]]]:
    tiers: dict[str, list[str]] = {}
    for name, snapshots in report.harmed.items():
        for snapshot in snapshots:
            tiers.setdefault(snapshot, []).append(name)
    return [(snapshot, tuple(names)) for snapshot, names in tiers.items()]
