"""An erasure over an organisation's repository, at all locations where it is remembered, and over the sealing keys.

What is done is `repo erase` (`repository/retention/erasure.py`): each log that answers says so first, and catch-up,
repair and prune of the others follow it. A worker that died may have left a domain without keys, which has no name any
more: it is gone on with by the ids of its keys, which the record has.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from chassis.claims.port import Claim
from chassis.life.blocking import RunInterrupted
from chassis.life.signs import Signs
from chassis.locations import Locations
from chassis.sealing import Sealer
from chassis.subject_keys import domain_of
from contracts import errors
from contracts.erasure_events import PlaceErased
from contracts.errors import PlatformError
from repository.errors import RepositoryError, SnapshotHeld
from repository.opened import key_change
from repository.opened.repository import Repository
from repository.opened.wrappings import locked_until
from repository.retention.erasure import Erasure, ErasurePlan, TierErased, erase, plan_erasure
from repository.retention.receipt import receipt_of
from services.executor.adapters.begun import BegunRepositories
from services.executor.adapters.remembered import RememberedRepositories, why_not
from services.executor.erasing.ports import Destroyed, Domain, OpenErasure
from vault.places import Place
from vault.translation import translated

SNAPSHOTS_SIGNED = 1000
"""So many snapshots a receipt names, as the event that has it holds; the record names every point."""
_HELD = "a hold keeps a snapshot"


class RepositoryErasures:
    """`ErasurePlane` on `repository/` and the folder of keys."""

    def __init__(self, *, locations: Locations, sealer: Sealer, keys_dir: Path, begun: BegunRepositories) -> None:
        self._sealer = sealer
        self._remembered = RememberedRepositories(locations=locations, keys_dir=keys_dir, begun=begun)

    def open(self, claim: Claim, signs: Signs, is_cancelled: Callable[[], bool]) -> OpenErasure | None:
        """Open what is remembered. See `Plane.open`."""
        found = self._remembered.open(claim.organisation, signs)
        if found is None:
            return None
        return RepositoryErasure(found.repository, found.places, found.note, is_cancelled)

    def forget(self, organisation: str, data_subject_id: str) -> None:
        """See `ErasurePlane.forget`."""
        self._sealer.destroy(organisation, subject=data_subject_id)


class RepositoryErasure:
    """`OpenErasure` on an open repository; its tiers are called by their locations."""

    def __init__(
        self,
        repository: Repository,
        places: Mapping[str, Place],
        note: Callable[[], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._repository = repository
        self._places = places
        self._note = note
        self._is_cancelled = is_cancelled

    def look(self, data_subject_id: str, key_ids: Collection[str]) -> Domain:
        """See `OpenErasure.look`."""
        with translated(self._places):
            plans = [plan_erasure(self._repository, name) for name in self._names(data_subject_id, key_ids)]
        ids = {*key_ids, *(each for plan in plans for each in plan.key_ids)}
        return Domain(key_ids=sorted(ids), holds=sorted({hold for plan in plans for hold in plan.holds}))

    def destroy(self, data_subject_id: str, key_ids: Collection[str]) -> Destroyed:
        """See `OpenErasure.destroy`."""
        if self._is_cancelled():
            raise RunInterrupted
        with translated(self._places):
            try:
                names = self._names(data_subject_id, key_ids)
                done = [erase(self._repository, name, plan_erasure(self._repository, name).word) for name in names]
            except SnapshotHeld as error:
                raise PlatformError(errors.POINT_HELD, "a hold was placed on the tiers meanwhile") from error
            whole = self._together(domain_of(data_subject_id), key_ids, done)
            receipt = receipt_of(self._repository, whole).decode() if done else None
        self._note()
        return Destroyed(
            places=[self._place(location, whole) for location in sorted(self._places)],
            is_complete=whole.is_complete,
            receipt=receipt,
        )

    def close(self) -> None:
        """Close the tiers."""
        self._repository.close()

    def _names(self, data_subject_id: str, key_ids: Collection[str]) -> list[str]:
        """By which names the domain can be erased: its own as long as a key is there, and ids of destroyed keys."""
        domain = domain_of(data_subject_id)
        own = {keys.key_id.hex() for keys in self._repository.keys.all() if keys.domain == domain}
        gone = key_change.destroyed_keys(self._repository).intersection(key_ids) - own
        return [*([domain] if own else []), *sorted(gone)]

    def _together(self, domain: str, key_ids: Collection[str], every: Collection[Erasure]) -> Erasure:
        """What was done by all names, as one; of none it tells which tiers are away, on which there may be a key."""
        away = {tier.name: tier.error for tier in self._repository.tiers if not tier.is_ready}
        tiers = {tier.name: TierErased() for tier in self._repository.ready_tiers()}
        snapshots: set[str] = set()
        keks: set[str] = set()
        for each in every:
            away |= each.away
            snapshots.update(each.plan.snapshots)
            keks.update(each.plan.keks)
            for name, told in each.tiers.items():
                kept = tiers.setdefault(name, TierErased())
                tiers[name] = replace(
                    kept,
                    removed=[*kept.removed, *told.removed],
                    left=kept.left | told.left,
                    snapshots=kept.snapshots + told.snapshots,
                    failed=kept.failed or told.failed,
                )
        plan = ErasurePlan(
            domain,
            tuple(sorted({*key_ids, *(key for each in every for key in each.plan.key_ids)})),
            tuple(sorted(snapshots)[:SNAPSHOTS_SIGNED]),
            (),
            {},
            away,
            tuple(sorted(keks)),
            "",
        )
        return Erasure(plan, tiers, away)

    def _place(self, location: str, done: Erasure) -> PlaceErased:
        """What became of a location, for people of the organisation."""
        told = done.tiers.get(location)
        if told is None or told.failed is not None:
            code, hint = why_not(done.away.get(location) if told is None else told.failed, self._places[location])
            return PlaceErased(
                location=location, code=code, hint=hint, removed=0 if told is None else len(told.removed)
            )
        place = PlaceErased(location=location, removed=len(told.removed), left=len(told.left))
        if not told.left:
            return place
        ends = [self._locked_until(location, each) for each in told.left]
        until = [each for each in ends if each is not None]
        why = next(iter(told.left.values()))
        found = errors.KEYS_LOCKED if until else errors.POINT_HELD if why.startswith(_HELD) else errors.TIER_UNUSABLE
        return PlaceErased(
            location=location,
            code=found.code,
            hint=f"{why[:1].upper()}{why[1:]}." if found is errors.TIER_UNUSABLE else found.hint,
            removed=len(told.removed),
            left=len(told.left),
            locked_until=max(until).astimezone(UTC) if until else None,
        )

    def _locked_until(self, location: str, object_key: str) -> datetime | None:
        try:
            return locked_until(self._repository.tier(location), object_key)
        except RepositoryError:
            return None
