"""Holds on what the stores keep: the log's holds, set on the objects of each tier that locks, and looked at.

Promise: the log comes first, the objects after it. So a crash in between leaves less held on the store than the log
says, which `check` tells and `repair` mends, or, after a release, more: that is taken away by releasing once more. A
tier without object lock is named; there the log alone holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from repository.errors import RepositoryError
from repository.opened import legal_holds
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.retention import held_objects
from repository.retention.orders import Ordered, place_hold, release_hold
from repository.upkeep.check_report import Finding, Problem


@dataclass
class StoreHolds:
    """What became of a hold on the stores. `objects`: by tier that locks, on how many it was set or taken away;
    `failed`: why not; `without`: the tiers that have the order and no object lock, where the log alone holds.
    """

    objects: dict[str, int] = field(default_factory=dict)
    failed: dict[str, RepositoryError] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


def place(repository: Repository, name: str, snapshots: Sequence[str], reason: str = "") -> tuple[Ordered, StoreHolds]:
    """Place a hold in every log, and then on the objects of each tier that locks. Raises as `place_hold`."""
    done = place_hold(repository, name, snapshots, reason)
    return done, _on_stores(repository, done, lambda tier: held_objects.set_again(repository, tier))


def release(repository: Repository, name: str) -> tuple[Ordered, StoreHolds]:
    """End a hold in every log, and then on the objects that no other one needs. Raises as `release_hold`.

    Once more, all that the tiers keep is looked through, and what no hold needs is held no longer.
    """
    before = {tier.name: held_objects.held_by(tier.log.state, name) for tier in repository.ready_tiers()}
    done = release_hold(repository, name)
    return done, _on_stores(repository, done, lambda tier: held_objects.let_go(repository, tier, before.get(tier.name)))


def _on_stores(repository: Repository, done: Ordered, act: Callable[[OpenTier], int]) -> StoreHolds:
    found = StoreHolds()
    for tier in map(repository.tier, done.tiers):
        try:
            if tier.store.capabilities.locks is False:
                found.without.append(tier.name)
            else:
                found.objects[tier.name] = act(tier)
        except RepositoryError as error:
            found.failed[tier.name] = error
    return found


def hold_findings(
    repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """What held snapshots need and is not held on a tier that locks, or that it is not told. Raises its errors."""
    if tier.store.capabilities.locks is False or not (held := held_objects.held_snapshots(tier.log.state)):
        return
    objects, _ = held_objects.needed(
        repository, tier, held, check_cancelled
    )  # what is wrong with a tree is a finding of its own
    found = legal_holds.holds_on(tier.store, objects)
    for key, is_on in found.items():
        if is_on is False and tier.store.head(key) is not None:
            detail = "no legal hold is on it; a hold of the log keeps a snapshot that needs it"
            yield Finding(tier.name, Problem.UNHELD, key, detail, (tier.name,))
    if None in found.values():
        detail = "the tier, or its credentials, do not tell on what legal holds are"
        yield Finding(tier.name, Problem.HOLDS_UNKNOWN, "", detail)
