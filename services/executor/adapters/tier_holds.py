"""The record's holds on the tiers: in their logs, and on the objects of stores that lock.

Promise: on a tier no hold of the record is ended that the record does not call released, so that a record which was put
back, or lost, ends none. What was ended there by the command line is placed again. A hold's snapshots are held in
parts, since points come to it: `hold/<id>/<number>`, and no name twice. Whoever dies leaves what the next one goes on
with: objects are held after the log says so, and let go of before.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from repository.errors import RepositoryError
from repository.log.state import holding
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.retention import held_objects
from repository.retention.orders import AT_ONCE, Ordered, holds_of, release_hold
from repository.upkeep import store_holds
from repository.upkeep.store_holds import StoreHolds
from services.executor.retention.plans import Knowledge

_NAME = re.compile(r"hold/([^/]+)/([0-9]+)")


@dataclass
class TierHolds:
    """By location: how many snapshots of points its log holds for the record, whether its objects are held, why not."""

    points: dict[str, int] = field(default_factory=dict)
    on_objects: dict[str, bool] = field(default_factory=dict)
    failed: dict[str, RepositoryError] = field(default_factory=dict)

    def note(self, done: Ordered, stores: StoreHolds) -> None:
        """What became of an order."""
        for name, error in (*done.failed.items(), *stores.failed.items()):
            self.failed.setdefault(name, error)


def hold_of(name: str) -> str | None:
    """Of which hold of the record one of this name is a part; None of the command line's."""
    found = _NAME.fullmatch(name)
    return None if found is None else found[1]


def follow_holds(repository: Repository, known: Knowledge, check: Callable[[], None]) -> TierHolds:
    """Place and end on the tiers that are ready what the record says. Raises `NoUsableTier`, and as `check`."""
    done, wanted = TierHolds(), dict[str, set[str]]()
    for point in known.points:
        for hold in point.holds:
            wanted.setdefault(hold, set()).add(point.snapshot_id)
    for name in [each for each in holds_of(repository) if hold_of(each) in known.released_holds]:
        _end(repository, name, done, check)
    there = {each for tier in repository.readable_tiers() for each in tier.log.state.snapshots}
    for hold, snapshots in sorted(wanted.items()):
        held = {each for name, of in holds_of(repository).items() if hold_of(name) == hold for each in of}
        missing, number = sorted((snapshots & there) - held), _last(repository, hold)
        for start in range(0, len(missing), AT_ONCE):
            check()
            number += 1
            part = missing[start : start + AT_ONCE]  # Never empty: that would be all of the tier.
            done.note(*store_holds.place(repository, f"hold/{hold}/{number}", part, f"the hold {hold}"))
    every = set[str]().union(*wanted.values())
    for tier in repository.ready_tiers():
        check()
        _look(repository, tier, every, done, check)
    return done


def _end(repository: Repository, name: str, done: TierHolds, check: Callable[[], None]) -> None:
    """End a part of a hold, where each store that locks has let go of what it alone kept; else it goes on, to be told.

    The other way round nobody could say afterwards what is still held for it.
    """
    holds = {each: of for each, of in holds_of(repository).items() if each != name}
    is_free = True
    for tier in repository.ready_tiers():
        check()
        kept = held_objects.held_by(tier.log.state, name)
        if kept is None or tier.store.capabilities.locks is False:
            continue
        try:
            held_objects.let_go(repository, tier, kept, holds=holds, check_cancelled=check)
        except RepositoryError as error:
            done.failed.setdefault(tier.name, error)
            is_free = False
    if is_free:
        done.note(release_hold(repository, name), StoreHolds())


def _last(repository: Repository, hold: str) -> int:
    """The highest number that a part of a hold had, on whichever tier."""
    states = [tier.log.state for tier in repository.readable_tiers()]
    names = {name for state in states for name in (*state.holds, *state.released_holds)}
    numbers = [int(found[2]) for name in names if (found := _NAME.fullmatch(name)) is not None and found[1] == hold]
    return max(numbers, default=0)


def _look(
    repository: Repository, tier: OpenTier, snapshots: set[str], done: TierHolds, check: Callable[[], None]
) -> None:
    """What a tier holds, and its objects once more: a crash may have left some of them not held."""
    state = tier.log.state
    held = {name: of for name, of in state.holds.items() if hold_of(name) is not None}
    done.points[tier.name] = sum(bool(holding(each, held)) for each in snapshots & state.snapshots.keys())
    if tier.store.capabilities.locks is False or tier.name in done.failed:
        return
    try:
        held_objects.set_again(repository, tier, check)
        done.on_objects[tier.name] = True
    except RepositoryError as error:
        done.failed[tier.name] = error
