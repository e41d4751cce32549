"""What every tier is told of what stays and goes: snapshots forgotten, holds placed and released, tags given.

Promise: an order is an entry in the log of each ready tier, and decided there: what a hold keeps is not forgotten,
whoever was faster. A tier that is away gets it when it catches up (`take_over`), and shows nobody meanwhile what others
forgot. A hold beats a forgetting; the name of one that is over is not used again, so that no tier which was away then
brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from repository.errors import (
    BackupCancelled,
    HoldNotFound,
    HoldTaken,
    LimitExceeded,
    RepositoryError,
    SnapshotHeld,
    SnapshotNotFound,
    TextInvalid,
)
from repository.log.state import FORGOTTEN_MAX, LogState, holding, joint_holds
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.retention import held_objects
from repository.retention.begun_erasures import is_of_erasure
from repository.retention.tags import owed_tags, tagging
from repository.stored.log_entry import Body, HoldPlaced, HoldReleased, KeysDestroyed, SnapshotsForgotten

AT_ONCE = 10_000
"""Snapshots that one entry names, at most."""
NAME_LENGTH_MAX = 200


@dataclass
class Ordered:
    """On which tiers an order stands; which could not be told, and why: they are owed it.

    `tiers`: by name, how many entries it took; 0: it stood there already. `taken_over`: how many orders of others a
    tier was told on the way, as far as it was any.
    """

    tiers: dict[str, int] = field(default_factory=dict)
    taken_over: dict[str, int] = field(default_factory=dict)
    failed: dict[str, RepositoryError] = field(default_factory=dict)
    owed: dict[str, RepositoryError | None] = field(default_factory=dict)

    @property
    def is_everywhere(self) -> bool:
        """Whether each tier has it."""
        return not self.failed and not self.owed


@dataclass
class TakenOver:
    """What a tier took over from the others: in how many entries. `fault`: why its store does not follow its holds."""

    given: int = 0
    fault: RepositoryError | None = None


def forget(repository: Repository, snapshots: Sequence[str], reason: str = "") -> Ordered:
    """Let no tier have these snapshots (ids) any more. Their space is freed by a prune.

    What was forgotten before counts as done, and a tier that was not told then is told now, also where none is named:
    one that cannot be is among the `failed`. Nothing is forgotten unless all of them are there and free: raises
    `TextInvalid` (an erasure's reason), `SnapshotNotFound`, `SnapshotHeld` (also where another writer's hold came in
    between; then some tiers may have forgotten, which have no such hold, and `SnapshotHeld` says so), `NoUsableTier`.
    """
    if is_of_erasure(reason):
        hint = "Give another reason: with this one an erasure says which snapshots went with its keys."
        raise TextInvalid("this reason is an erasure's own", hint=hint, field="reason")
    wanted = tuple(dict.fromkeys(snapshots))
    repository.any_ready()
    known = {identity for tier in repository.readable_tiers() for identity in tier.log.state.snapshots}
    gone = {identity for tier in repository.readable_tiers() for identity in tier.log.state.forgotten}
    for identity in wanted:
        if identity not in known and identity not in gone:
            raise SnapshotNotFound("no snapshot has this id", id=identity)
    _refuse_held(holds_of(repository), wanted)

    faults: dict[str, RepositoryError] = {}
    untold: dict[str, RepositoryError] = {}
    taken_over: dict[str, int] = {}
    for tier in repository.ready_tiers():
        # A hold that was released while the tier was away is over there as well.
        try:
            taken = take_over(repository, tier)
        except RepositoryError as error:
            untold[tier.name] = error
            continue
        if taken.fault is not None:
            faults[tier.name] = taken.fault
        if taken.given:
            taken_over[tier.name] = taken.given

    def order(tier: OpenTier) -> int:
        if tier.name in faults and any(holding(each, tier.log.state.holds) for each in wanted):
            raise faults[tier.name]
        if not wanted and tier.name in untold:
            raise untold[tier.name]
        return _forget_on(tier, wanted, reason, repository.clock.now_ns)

    done = _on_each(repository, order)
    for name in untold.keys() & done.tiers.keys():
        del done.tiers[name]
        done.failed[name] = untold[name]
    done.taken_over = taken_over
    return done


def place_hold(repository: Repository, name: str, snapshots: Sequence[str], reason: str = "") -> Ordered:
    """Keep whatever these snapshots (ids; none: all, those to come as well) need until the hold is released.

    The same once more is done already. Raises `HoldTaken` (a hold of this name is, or was, of others),
    `SnapshotNotFound` (there is none, or none any more on any tier; where only some have forgotten it these are among
    the `failed`), `LimitExceeded`, `NoUsableTier`.
    """
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise LimitExceeded(
            "a hold has a name of printable characters", hint=f"Give it one of 1 to {NAME_LENGTH_MAX} characters."
        )
    wanted = tuple(sorted(set(snapshots)))
    repository.any_ready()
    for identity in wanted:
        if not any(identity in tier.log.state.snapshots for tier in repository.readable_tiers()):
            raise SnapshotNotFound("no snapshot has this id", id=identity)
    for tier in repository.readable_tiers():
        _refuse_taken(tier.log.state, name, wanted, tier.name)

    def order(tier: OpenTier) -> int:
        def decide(state: LogState) -> Body | None:
            _refuse_taken(state, name, wanted, tier.name)
            # By this very state: whoever forgot it was faster, and a prune takes it away whatever is held.
            for identity in wanted:
                if identity in state.forgotten and identity not in state.snapshots:
                    raise SnapshotNotFound("snapshot was forgotten", tier=tier.name, id=identity)
            if name in state.holds:
                return None
            return HoldPlaced(time_ns=repository.clock.now_ns(), name=name, snapshots=wanted, reason=reason)

        return int(tier.log.append(decide) is not None)

    return _on_each(repository, order)


def release_hold(repository: Repository, name: str) -> Ordered:
    """End a hold. What was released before counts as done. Raises `HoldNotFound`, `NoUsableTier`."""
    repository.any_ready()
    if not any(_knows(tier.log.state, name) for tier in repository.readable_tiers()):
        raise HoldNotFound("no hold has this name", name=name)

    def order(tier: OpenTier) -> int:
        def decide(state: LogState) -> Body | None:
            # Also where it never was: no tier that has it may bring it here.
            return None if name in state.released_holds else HoldReleased(time_ns=repository.clock.now_ns(), name=name)

        return int(tier.log.append(decide) is not None)

    return _on_each(repository, order)


def give_tags(repository: Repository, tags: Mapping[str, Sequence[str]]) -> Ordered:
    """Let these snapshots (by id) have these tags and no others. What is so already counts as done.

    Raises `SnapshotNotFound`, `TextInvalid`, `NoUsableTier`.
    """
    repository.any_ready()
    for tier in repository.ready_tiers():
        # So that what another tier was told while this one was away is not given a second time, and by nobody.
        with suppress(RepositoryError):
            take_over(repository, tier)
    bodies = tagging(repository, tags)

    def order(tier: OpenTier) -> int:
        # mypy infers no lambda that has a default.
        orders = (tier.log.append(lambda _state, body=body: body) for body in bodies)  # type: ignore[misc]  # see above
        return sum(each is not None for each in orders)

    return _on_each(repository, order)


def holds_of(repository: Repository) -> dict[str, tuple[str, ...]]:
    """The holds that some readable tier has and none calls released: by name, the snapshots (none: all)."""
    return joint_holds(tier.log.state for tier in repository.readable_tiers())


def owed_orders(repository: Repository, tier: OpenTier) -> list[Body]:
    """The orders that other tiers' logs have and this one's has not, in the order in which they are to be given."""
    return list(_owed(tier.log.state, [source.log.state for source in repository.sources_for(tier)]))


def take_over(repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None] = lambda: None) -> TakenOver:
    """Give this tier the orders of the others, and let its store follow those on holds.

    A hold that ended elsewhere is taken from the store before the log says that it is over, and before what it kept is
    forgotten: nobody could say afterwards what that was, and whoever died in between begins again here. Where the store
    does not let go, the tier goes on holding: that is the `fault`, and all the rest is given. Raises the store's errors
    and what `check_cancelled` raises.
    """
    done, others = TakenOver(), [source.log.state for source in repository.sources_for(tier)]
    state = tier.log.state
    ended = state.holds.keys() & set[str]().union(*(other.released_holds for other in others))
    left = set[str]()
    if ended and tier.store.capabilities.locks is not False:
        snapshots = {each for name in ended for each in held_objects.held_by(state, name) or ()}
        holds = joint_holds((state, *others))
        try:
            held_objects.let_go(repository, tier, snapshots, holds=holds, check_cancelled=check_cancelled)
        except BackupCancelled:
            raise
        except RepositoryError as error:
            done.fault, left = error, ended

    def decide(state: LogState) -> Body | None:
        return next(_owed(state, others, repository.clock.now_ns(), left), None)

    has_holds = False
    while (entry := tier.log.append(decide)) is not None:
        done.given += 1
        has_holds = has_holds or isinstance(entry.body, HoldPlaced)
    if has_holds and tier.store.capabilities.locks is not False:
        try:
            held_objects.set_again(repository, tier, check_cancelled)
        except BackupCancelled:
            raise
        except RepositoryError as error:
            done.fault = done.fault or error
    return done


def _owed(state: LogState, others: Sequence[LogState], now_ns: int = 0, kept: Collection[str] = ()) -> Iterator[Body]:
    """What is owed, in its order. `kept`: holds that go on here, whoever released them."""
    released = set().union(*(other.released_holds for other in others))
    for name in sorted(released - state.released_holds - set(kept)):
        yield HoldReleased(time_ns=now_ns, name=name)
    holds = joint_holds((state, *others)) | {name: state.holds[name] for name in kept if name in state.holds}
    for name, held in sorted(holds.items()):
        if name not in state.holds:
            yield HoldPlaced(time_ns=now_ns, name=name, snapshots=held, reason="another tier's")
    destroyed = set().union(*(other.destroyed_keys for other in others)) - state.destroyed_keys
    if destroyed:
        yield KeysDestroyed(time_ns=now_ns, key_ids=tuple(sorted(destroyed)))
    gone = {identity for other in others for identity in other.forgotten if identity not in state.forgotten}
    if len(state.forgotten) >= FORGOTTEN_MAX:
        # It may have been told, and remember it no more: without the snapshot nothing is owed, or it were for ever.
        gone &= state.snapshots.keys()
    yield from owed_tags(state, others, now_ns)
    free = sorted(identity for identity in gone if not holding(identity, holds))
    for start in range(0, len(free), AT_ONCE):
        yield SnapshotsForgotten(
            time_ns=now_ns, snapshots=tuple(free[start : start + AT_ONCE]), reason="another tier's"
        )


def _forget_on(tier: OpenTier, wanted: Sequence[str], reason: str, now_ns: Callable[[], int]) -> int:
    given = 0
    for start in range(0, len(wanted), AT_ONCE):
        part = wanted[start : start + AT_ONCE]

        def decide(state: LogState, part: Sequence[str] = part) -> Body | None:
            left = tuple(each for each in part if each not in state.forgotten)
            _refuse_held(state.holds, left, tier=tier.name)
            return SnapshotsForgotten(time_ns=now_ns(), snapshots=left, reason=reason) if left else None

        given += tier.log.append(decide) is not None
    return given


def _refuse_held(holds: Mapping[str, Sequence[str]], identities: Sequence[str], **context: Any) -> None:
    for identity in identities if holds else ():
        names = holding(identity, holds)
        if names:
            raise SnapshotHeld("a hold keeps this snapshot", id=identity, hold=names[0], holds=len(names), **context)


def _refuse_taken(state: LogState, name: str, wanted: tuple[str, ...], tier: str) -> None:
    if name in state.released_holds:
        raise HoldTaken("a hold of this name was released", name=name, tier=tier)
    if tuple(sorted(state.holds.get(name, wanted))) != wanted:
        raise HoldTaken("a hold of this name keeps other snapshots", name=name, tier=tier)


def _knows(state: LogState, name: str) -> bool:
    return name in state.holds or name in state.released_holds


def _on_each(repository: Repository, order: Callable[[OpenTier], int]) -> Ordered:
    """Give the order to each ready tier. Raises only what is decided, and what failed where no tier has it."""
    done = Ordered()
    for tier in repository.tiers:
        if not tier.is_ready:
            done.owed[tier.name] = tier.error
            continue
        try:
            done.tiers[tier.name] = order(tier)
        except (SnapshotHeld, HoldTaken):
            raise
        except RepositoryError as error:
            done.failed[tier.name] = error
    if not done.tiers:
        raise next(iter(done.failed.values()))
    return done
