"""A repair over an organisation's repository, at all locations where it is remembered.

What is done, and in which words it is told, is `repo repair` (`repository/upkeep/repair.py`): nothing whole is put
over, what is damaged is set aside first, and what nobody has whole stays as it is. Entries of a log are never given up
here (`--bridge`), but for those with which nothing is lost.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec

from chassis.claims.port import Claim
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from contracts.repair_events import DamagedObject, PlaceRepaired, RepairedObject
from repository.errors import RepositoryError
from repository.index.pack_catalog import stored_packs
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.repository import Repository
from repository.retention.pins import Pinning, pinned
from repository.upkeep.check import check
from repository.upkeep.check_report import CheckReport, Finding, Problem
from repository.upkeep.repair import repair
from repository.upkeep.repair_result import RepairResult
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.remembered import RememberedRepositories, why_not
from services.executor.repairing.ports import OpenRepair
from services.executor.repairing.told import NAMED_MAX
from vault.places import Place
from vault.translation import translated

_OF_PACKS = (Problem.PACK_MISSING, Problem.PACK_DAMAGED)
_OF_TIER = (Problem.TIER, Problem.REPLAYED)
"""Not of an object: the location as a whole takes no part."""


class RepositoryRepairs:
    """`Plane` of repairs, on `repository/`."""

    def __init__(self, *, locations: Locations, keys_dir: Path, begun: BegunRepositories) -> None:
        self._remembered = RememberedRepositories(locations=locations, keys_dir=keys_dir, begun=begun)

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> OpenRepair | None:
        """Open what is remembered. See `Plane.open`."""
        found = self._remembered.open(claim.organisation, signs)
        if found is None:
            return None
        return RepositoryRepair(found.repository, found.places, found.note, signs, is_cancelled)


class RepositoryRepair:
    """`OpenRepair` on an open repository; its tiers are called by their locations."""

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
        self._report = CheckReport()
        self._looked_at: dict[str, PlaceRepaired] = {}
        self._sizes: dict[str, dict[bytes, int]] = {}

    def look(
        self, locations: Collection[str], read_percent: int, without: Collection[str]
    ) -> Mapping[str, PlaceRepaired]:
        """See `OpenRepair.look`."""
        chosen = [each for each in sorted(self._places) if (not locations or each in locations) and each not in without]
        if not chosen:
            return {}
        with translated(self._places):
            # What a prune deletes while packs are read would be called lost.
            with self._pinned(chosen) if read_percent else nullcontext() as pins:
                self._report = check(
                    self._repository, read_percent=read_percent, tiers=chosen, check_cancelled=self._check
                )
                if pins is not None and self._report.damage:
                    pins.look_again()
            self._looked_at = {location: self._found(location) for location in chosen}
        return self._looked_at

    def repair(self, location: str) -> PlaceRepaired:
        """See `OpenRepair.repair`."""
        tier, found = self._repository.tier(location), self._looked_at[location]
        try:
            done = repair(self._repository, tier, self._report, check_cancelled=self._check)
        except RepositoryError as error:
            code, hint = why_not(error, self._places[location])
            return msgspec.structs.replace(found, code=code, hint=hint, left=found.damaged)
        self._note()
        return self._done(found, done)

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _found(self, location: str) -> PlaceRepaired:
        """What was found at a location. `code`: why it is not to be repaired, or not whole."""
        tier, counts = self._repository.tier(location), self._report.tiers[location]
        damage = _by_itself([each for each in self._report.damage if each.tier == location])
        place = PlaceRepaired(location=location, packs=counts.packs, packs_read=counts.packs_read)
        if any(each.problem in _OF_TIER for each in damage):
            code, hint = self._away(tier)
            return msgspec.structs.replace(place, code=code, hint=hint)
        lost = sum(not each.repairable_from for each in damage)
        return msgspec.structs.replace(
            place,
            code=errors.STORAGE_DAMAGED.code if lost else None,
            hint=errors.STORAGE_DAMAGED.hint if lost else "",
            damaged=len(damage),
            lost=lost,
            needed_bytes=self._needed_bytes(location, damage),
            harmed=len(self._report.harmed.get(location, ())),
            found=_named(damage),
        )

    def _done(self, found: PlaceRepaired, done: RepairResult) -> PlaceRepaired:
        left = [each for each in _by_itself(done.unrepaired) if each.problem not in _OF_TIER]
        code, hint = (errors.STORAGE_DAMAGED.code, errors.STORAGE_DAMAGED.hint) if left else (None, "")
        if any(each.problem in _OF_TIER for each in done.unrepaired):
            code, hint = self._away(self._repository.tier(found.location))
        return msgspec.structs.replace(
            found,
            code=code,
            hint=hint,
            repaired=len(done.actions),
            left=len(left),
            set_aside=len(done.set_aside),
            given_up=len(done.given_up),
            harmed=len(done.harmed),
            done=tuple(
                RepairedObject(object_key=each.object_key, source=each.source) for each in done.actions[:NAMED_MAX]
            ),
            unrepaired=_named(left),
        )

    def _away(self, tier: OpenTier) -> tuple[str, str]:
        """Why nothing of a tier is looked at or changed."""
        if tier.error is None and tier.state is not TierState.EMPTY:
            return errors.TIER_UNREACHABLE.code, errors.TIER_UNREACHABLE.hint  # It failed while it was looked at.
        return why_not(tier.error, self._places[tier.name])

    def _needed_bytes(self, location: str, damage: Iterable[Finding]) -> int:
        """Of the packs that come from elsewhere, as they are stored there."""
        needed = 0
        for each in {each.object_key: each for each in damage if each.problem in _OF_PACKS}.values():
            source = next((name for name in each.repairable_from if name != location), None)
            if source is not None:
                needed += self._sizes_at(source).get(bytes.fromhex(each.object_key.rsplit("/", 1)[-1]), 0)
        return needed

    def _sizes_at(self, location: str) -> dict[bytes, int]:
        if location not in self._sizes:
            tier = self._repository.tier(location)
            self._sizes[location] = {pack.id: pack.size for pack in stored_packs(tier.store)}
            self._check()
        return self._sizes[location]

    def _pinned(self, locations: Collection[str]) -> AbstractContextManager[Pinning | None]:
        return pinned(self._repository, "repair", everything=True, only=locations)

    def _check(self) -> None:
        if self._is_cancelled():
            raise RunInterrupted
        self._signs.moved()


def _by_itself(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Without trees that cannot be read for want of a pack: that pack is among them, and says from where it comes."""
    if not any(each.problem in _OF_PACKS for each in findings):
        return findings
    return [each for each in findings if each.problem is not Problem.TREE or each.repairable_from]


def _named(findings: Iterable[Finding]) -> tuple[DamagedObject, ...]:
    return tuple(
        DamagedObject(
            problem=each.problem.value,
            object_key=each.object_key,
            whole_at=each.repairable_from,
            not_read_at=each.not_read_on,
        )
        for each in list(findings)[:NAMED_MAX]
    )
