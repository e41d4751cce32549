"""One snapshot in parts, as it lies on the tiers: the plan, what the parts came to, and what joins them.

Promise: a part counts on a tier only when all that it references is in that tier's index; the snapshot is committed
on a tier only when all of its parts are there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from repository.backup.fanout import Delivery
from repository.backup.joined_tree import joined_tree
from repository.backup.result import TierResult, found_of_run, of_one_run
from repository.errors import (
    AlreadyExists,
    NoUsableTier,
    ObjectMissing,
    RepositoryError,
    TextInvalid,
)
from repository.index.segments import SealedSegment
from repository.opened import locking, present_objects
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.stored.object_reading import read_object
from repository.stored.part import PLAN, PartMade, Plan, decode_left, encode_left, part_place, pending_object_key
from repository.stored.snapshot import (
    ClassTotals,
    Snapshot,
    SnapshotManifest,
    Totals,
    decode_manifest,
    of_torn,
    snapshot_id,
    torn_of,
)

RUN_ID_LENGTH: Final = 16
PARTS: Final = "parts"
"""Key of `extra` in the manifest: name (hex) → root page (hex) of each part."""
Counts = TypeVar("Counts", Totals, ClassTotals)


class Token(msgspec.Struct, frozen=True):
    """What is passed from one process to another."""

    format: int
    repository: str
    run: str
    run_token: str


_TOKEN: Final = msgspec.json.Decoder(Token)
_ROOTS: Final = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True)
class Joined:
    """The snapshot that was committed. `errors`: of each tier that does not have it, why; it is owed a catch-up."""

    snapshot: Snapshot
    errors: Mapping[str, RepositoryError]

    @property
    def is_degraded(self) -> bool:
        """Whether a tier is owed a catch-up."""
        return bool(self.errors)


class PartsRun:
    """One snapshot in parts, as it lies on the tiers."""

    def __init__(self, repository: Repository, token: bytes) -> None:
        try:
            decoded = _TOKEN.decode(token)
            self.id = bytes.fromhex(decoded.run)
        except (msgspec.DecodeError, ValueError):
            raise TextInvalid("this is no token of a snapshot in parts", field="token") from None
        if decoded.repository != repository.id.hex() or len(self.id) != RUN_ID_LENGTH:
            raise TextInvalid("the token is of another repository", field="token")
        self._repository = repository
        self._run_token = decoded.run_token

    def plan(self) -> Plan:
        """The plan, from the first tier that has it whole. Raises `ObjectMissing`, or what is wrong with each."""
        errors: list[RepositoryError] = []
        for tier in self._repository.readable_tiers():
            try:
                body = read_object(tier.store, pending_object_key(self.id, PLAN))
                return decode_left(body, Plan, self.id, PLAN, self._repository.keys)
            except RepositoryError as error:
                errors.append(error)
        if all(isinstance(error, ObjectMissing) for error in errors):
            hint = "It was joined or abandoned, or its tiers are away: begin it anew, or give every tier."
            raise ObjectMissing("no tier has the plan of the parts", hint=hint, run=self.id.hex())
        raise NoUsableTier.because("no tier shows the plan of the parts", errors, run=self.id.hex())

    def made(self, number: int) -> dict[str, PartMade]:
        """A part, by tier that has it. One that cannot be read was not made."""
        found: dict[str, PartMade] = {}
        for tier in self._repository.ready_tiers():
            try:
                found[tier.name] = self._read(tier, number)
            except RepositoryError:
                continue
        return found

    def _read(self, tier: OpenTier, number: int) -> PartMade:
        place = part_place(number)
        body = read_object(tier.store, pending_object_key(self.id, place))
        return decode_left(body, PartMade, self.id, place, self._repository.keys)

    def as_snapshot(self, manifest: SnapshotManifest) -> Snapshot:
        """A part's manifest in the shape of a snapshot; no log has it."""
        body = manifest.encode()
        return Snapshot(snapshot_id(self._repository.id, body).hex(), body, manifest)

    def parent_of(self, plan: Plan, name: bytes) -> Snapshot | None:
        """The parent as if it were of this part alone; None where it has no such part."""
        parent = next((each for each in self._repository.snapshots() if each.id == plan.parent), None)
        if parent is None or PARTS not in parent.manifest.extra:
            return None
        root = _ROOTS.decode(parent.manifest.extra[PARTS]).get(name.hex())
        if root is None:
            return None
        return Snapshot(parent.id, parent.body, msgspec.structs.replace(parent.manifest, root=(root,)))

    def commit_part(
        self,
        tier: OpenTier,
        number: int,
        manifest: SnapshotManifest,
        packs: frozenset[bytes] | set[bytes],
        new_segments: Sequence[SealedSegment],
        lock_until: datetime | None,
    ) -> Snapshot:
        """Say on one tier that the part is made: its packs join the index first, so that they are nobody's orphans."""
        snapshot, place = self.as_snapshot(manifest), part_place(number)
        if new_segments:
            only_if = present_objects.are_left(new_segments)
            tier.change_index(new_segments, (), "a part was made", lock_until=lock_until, only_if=only_if)
        else:
            tier.refresh()
        tier.refuse_without(packs)
        if lock_until is not None:
            locking.lock(tier.store, present_objects.needed_objects(tier, packs), lock_until)
        made = PartMade(name=self.plan().parts[number], manifest=snapshot.body, packs=b"".join(sorted(packs)))
        body = encode_left(made, self.id, place, self._repository.keys.root, self._repository.randomness)
        key = pending_object_key(self.id, place)
        try:
            tier.store.put(key, body, if_absent=True)
        except AlreadyExists:
            try:
                # Another writer made this part, for which one was taken that had died: his counts here.
                return self.as_snapshot(decode_manifest(self._read(tier, number).manifest))
            except RepositoryError:
                tier.store.put(key, body)
        return snapshot

    def committed_before(self) -> Joined | None:
        """What an earlier join has committed, if it got as far as any tier; the others are owed a catch-up."""
        ready = self._repository.ready_tiers()
        for tier in ready:
            tier.refresh()
        found = found_of_run(ready, self._run_token)
        if not found:
            return None
        snapshot, others = of_one_run(found)
        have = {each.name for each in self._repository.tiers_with(snapshot)}
        self.tidy([each for each in ready if each.name in have])
        return Joined(snapshot, self._not_on(have, others))

    def _not_on(self, have: set[str], errors: Mapping[str, RepositoryError]) -> dict[str, RepositoryError]:
        found: dict[str, RepositoryError] = {}
        for tier in self._repository.tiers:
            if tier.name not in have:
                reason = NoUsableTier("tier does not have the snapshot", tier=tier.name, state=tier.state.value)
                found[tier.name] = errors.get(tier.name) or tier.error or reason
        return found

    def commit(self, plan: Plan, parts: Sequence[PartMade]) -> Joined:
        """Join these parts' trees and commit the snapshot to each ready tier that has all of it."""
        repository = self._repository
        until = {
            tier.name: locking.lock_date(tier.store, plan.lock_days.get(tier.name, 0))
            for tier in repository.ready_tiers()
        }
        writer = repository.randomness.token_bytes(RUN_ID_LENGTH)
        tiers = repository.ready_tiers()
        repository.begin_writing(writer, tiers, lambda tier: until[tier.name])
        tiers = [tier for tier in tiers if tier.is_ready]
        manifests = [decode_manifest(part.manifest) for part in parts]
        roots = {part.name: bytes.fromhex(each.root[0]) for part, each in zip(parts, manifests, strict=True)}
        tree = joined_tree(repository, tiers, plan.domain, plan.time_ns, roots)
        manifest = _joined(plan, manifests, roots, tree.root, repository.keys.active(plan.domain).identity_id.hex())
        packs = {pack_id for part in parts for pack_id in part.pack_ids()} | tree.packs
        errors: dict[str, RepositoryError] = {}
        committed: dict[str, Snapshot] = {}
        for tier in tiers:
            try:
                tree.store(tier, until[tier.name])
                committed[tier.name] = tier.commit_snapshot(
                    manifest, packs=packs, new_segments=tree.segments, lock_until=until[tier.name]
                )
            except RepositoryError as error:
                errors[tier.name] = error
        if not committed:
            raise NoUsableTier.because(
                "no tier takes the snapshot of the parts", errors.values(), tiers=repository.states()
            )
        snapshot, others = of_one_run(committed)
        errors |= others
        done = [tier for tier in tiers if tier.name not in errors]
        repository.end_writing(writer, done, lambda tier: until[tier.name])
        self.tidy(done)
        return Joined(snapshot, self._not_on({tier.name for tier in done}, errors))

    def tidy(self, tiers: Sequence[OpenTier]) -> dict[str, RepositoryError]:
        """Take away what the writers left for each other; returns the tiers on which some is left, and why.

        It costs nothing there, and a check tells of it.
        """
        errors: dict[str, RepositoryError] = {}
        for tier in tiers:
            try:
                for info in list(tier.store.list(pending_object_key(self.id, ""))):
                    tier.store.delete(info.key)
            except RepositoryError as error:
                errors[tier.name] = error
        return errors

    def results_of(self, errors: Mapping[str, Exception], required: Collection[str]) -> dict[str, TierResult]:
        """How the ready tiers came out of what was done before: all that are not in `errors` have it."""
        return {
            tier.name: TierResult(
                Delivery.BEHIND if tier.name in errors else Delivery.COMMITTED,
                errors.get(tier.name),
                0,
                0,
                0.0,
                tier.name in required,
            )
            for tier in self._repository.ready_tiers()
        }


def _joined(
    plan: Plan, parts: Sequence[SnapshotManifest], roots: Mapping[bytes, bytes], root: bytes, domain: str
) -> SnapshotManifest:
    return SnapshotManifest(
        time_ns=plan.time_ns,
        run_token=plan.run_token,
        label=plan.label,
        root=(root.hex(),),
        domain=domain,
        parent=plan.parent,
        tags=plan.tags,
        totals=_sum([part.totals for part in parts], Totals),
        by_class={
            name: _sum([part.by_class[name] for part in parts if name in part.by_class], ClassTotals)
            for name in dict.fromkeys(name for part in parts for name in part.by_class)
        },
        extra={
            PARTS: msgspec.Raw(msgspec.json.encode({name.hex(): page.hex() for name, page in roots.items()})),
            **of_torn(sum(map(torn_of, parts))),
        },
    )


def _sum(counts: Sequence[Counts], kind: type[Counts]) -> Counts:
    return kind(**{name: sum(getattr(each, name) for each in counts) for name in kind.__struct_fields__})
