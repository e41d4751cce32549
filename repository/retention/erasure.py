"""Erasure: the keys of a domain destroyed, so that what was encrypted under them can be read by nobody.

Promise: what a hold keeps is not erased. Once one tier's log says `destroyed`, no tier commits a snapshot of the domain
any more and none gets its keys; each tier that has heard of it, be it years later, lets the domain's snapshots go and
deletes its wrapped keys, with every version and every copy that a repair set aside. What a lock keeps, or a tier that
is away, is told, and the same call goes on; after a crash as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from repository.errors import (
    ErasureNotConfirmed,
    KeyNotFound,
    KeyStillNeeded,
    RepositoryError,
    SnapshotHeld,
    UnknownKey,
)
from repository.keys import crypto
from repository.keys.key_ring import DEFAULT_DOMAIN, KEY_PREFIX, ROOT_DOMAIN, DomainKeys, key_id_of
from repository.log.state import LogState, holding, joint_holds
from repository.opened import key_change
from repository.opened.erased import Erased
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.opened.second_copies import of_forgotten
from repository.opened.wrappings import QUARANTINE_PREFIX, KeyCopy, delete_copy, left_beside, locked_until
from repository.retention.begun_erasures import begun_erasures, reason_of
from repository.retention.orders import AT_ONCE, holds_of, take_over
from repository.stored.log_entry import Body, KeysDestroyed, SnapshotsForgotten
from repository.stored.snapshot import Snapshot


@dataclass(frozen=True)
class ErasurePlan:
    """What would be destroyed.

    `snapshots`: ids of those of the domain; `holds`: names of what keeps some of them; `copies`: by tier, the wrapped
    keys that lie there; `away`: tiers that cannot be told now, and why; `keks`: ids (hex) of what opens the domain.
    """

    domain: str
    key_ids: tuple[str, ...]
    snapshots: tuple[str, ...]
    holds: tuple[str, ...]
    copies: dict[str, list[KeyCopy]]
    away: dict[str, RepositoryError | None]
    keks: tuple[str, ...]
    word: str
    """What confirms it: another one when other keys or snapshots are there."""


@dataclass
class TierErased:
    """What became of one tier. `removed`: object keys; `left`: what still lies there, by object key, and why."""

    removed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    snapshots: int = 0
    failed: RepositoryError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no wrapped key of the domain is left on the tier."""
        return self.failed is None and not self.left


@dataclass
class Erasure:
    """What was destroyed; `away`: tiers that still have it."""

    plan: ErasurePlan
    tiers: dict[str, TierErased]
    away: dict[str, RepositoryError | None]

    @property
    def is_complete(self) -> bool:
        """Whether all tiers that were given are without the domain's keys."""
        return not self.away and all(each.is_complete for each in self.tiers.values())


def plan_erasure(repository: Repository, name: str, word: str = "") -> ErasurePlan:
    """What the erasure of a domain would destroy. `name`: the domain's, or the id (hex) of a key that is destroyed.

    What an erasure that was killed has forgotten or destroyed by then belongs to it. `word`: that of its plan, by which
    it is found where the keys are gone that said whose they were.
    Raises `KeyNotFound`, `KeyStillNeeded`, `NoUsableTier`, and the stores' errors.
    """
    repository.any_ready()
    if name in (DEFAULT_DOMAIN, ROOT_DOMAIN):
        hint = (
            "Forget its snapshots and prune; give what is to be erased one day a domain of its own (`repo key domain`)."
        )
        raise KeyStillNeeded("the default domain's key seals and signs the repository itself", hint=hint)
    own = [keys for keys in repository.keys.all() if keys.domain == name]
    key_ids = tuple(sorted(keys.key_id.hex() for keys in own))
    begun = begun_erasures(repository)
    if not own and name in key_change.destroyed_keys(repository):
        key_ids = tuple(sorted(begun.keys_with(name)))
    elif not own:
        words = {_word_of(repository, name, each, begun.snapshots_of(each)): each for each in begun.destroyed()}
        key_ids = words.get(word.lower(), ())
        if not key_ids:
            hint = (
                "`repo key list` shows the domains that this key opens, and the ids of destroyed keys. An erasure that "
                "was stopped is ended, and its receipt made, by the same command with the same word."
            )
            raise KeyNotFound("no key domain has this name", hint=hint, domain=name)
    identities = {keys.identity_id.hex() for keys in own}
    ids = {each.id for each in repository.snapshots() if each.brief.domain in identities} if own else set()
    ids |= begun.snapshots_of(key_ids)
    if own and is_ordered(repository, key_ids):
        ids |= set(_forgotten_of(repository, identities))
    holds = holds_of(repository)
    held = sorted({hold for each in ids for hold in holding(each, holds)})
    named = {key for tier in repository.readable_tiers() for key in tier.log.state.key_objects}
    keks = {key.rpartition(".")[2] for key in named if key_id_of(key) in key_ids}
    return ErasurePlan(
        name,
        key_ids,
        tuple(sorted(ids)),
        tuple(held),
        {tier.name: list(_copies(tier, key_ids)) for tier in repository.ready_tiers()},
        {tier.name: tier.error for tier in repository.tiers if not tier.is_ready},
        tuple(sorted(keks)),
        _word_of(repository, name, key_ids, ids),
    )


def _word_of(repository: Repository, name: str, key_ids: Collection[str], snapshots: Collection[str]) -> str:
    named = (name, *sorted(key_ids), *sorted(snapshots))
    return crypto.sha256(repository.id, *(each.encode("utf-8", "surrogateescape") for each in named))[:4].hex()


def is_ordered(repository: Repository, key_ids: Collection[str]) -> bool:
    """Whether some log calls all of these keys destroyed."""
    return key_change.destroyed_keys(repository).issuperset(key_ids)


def _forgotten_of(repository: Repository, identities: Collection[str]) -> Iterator[str]:
    """The snapshots (ids) of a domain that were forgotten with it, as far as their second copies are there."""
    for tier in repository.ready_tiers():
        for identity in of_forgotten(tier):
            with suppress(RepositoryError):
                if tier.log.second_copy(identity).snapshot.brief.domain in identities:
                    yield identity


def erase(repository: Repository, name: str, word: str) -> Erasure:
    """Destroy a domain's keys on every ready tier. `word`: that of the plan, so that nothing else is destroyed.

    What was begun before is gone on with, also with the word that began it. Raises as `plan_erasure`,
    `ErasureNotConfirmed`, `SnapshotHeld` (then no tier was told); what fails on one tier is told of it.
    """
    for tier in repository.ready_tiers():
        # What others hold counts here as well.
        with suppress(RepositoryError):
            take_over(repository, tier)
    plan = plan_erasure(repository, name, word)
    # What some log calls destroyed goes everywhere: nothing is left to be confirmed, and the word is another one since.
    if word.lower() != plan.word and not is_ordered(repository, plan.key_ids):
        raise ErasureNotConfirmed("what would be erased is not what was confirmed", snapshots=len(plan.snapshots))
    if plan.holds:
        raise SnapshotHeld("a hold keeps a snapshot of the domain", hold=plan.holds[0], holds=len(plan.holds))
    done = Erasure(plan, {}, dict(plan.away))
    key_ids = set(plan.key_ids)
    for tier in repository.ready_tiers():
        done.tiers[tier.name] = TierErased()
        try:
            key_ids |= _order(repository, tier, key_ids)
        except RepositoryError as error:
            if isinstance(error, SnapshotHeld) and not key_change.destroyed_keys(repository).intersection(plan.key_ids):
                raise
            done.tiers[tier.name].failed = error
    for tier in repository.ready_tiers():
        if done.tiers[tier.name].failed is None:
            done.tiers[tier.name] = finish(repository, tier, key_ids)
    repository.keys.destroyed = key_change.destroyed_keys(repository)
    done.plan = replace(plan, key_ids=tuple(sorted(repository.keys.with_domains(key_ids))))
    return done


def finish(repository: Repository, tier: OpenTier, key_ids: Collection[str] | None = None) -> TierErased:
    """Let go on one tier what some log calls destroyed (all of it, or these keys); what is left, or fails, is told.

    With a key goes all of its domain: where somebody who had not heard of it made another one, that is called destroyed
    as well, before the one that tells whose it is goes. Of a domain of which a hold keeps a snapshot here nothing is
    let go before the hold is released.
    """
    result = TierErased()
    try:
        if wanted := key_change.destroyed_keys(repository):
            _open(repository, [info.key for info in tier.store.list(KEY_PREFIX)])
            wanted = key_change.destroyed_keys(repository)
        if key_ids is not None:
            wanted &= repository.keys.with_domains(key_ids)
        if wanted:
            tier.log.append(lambda state: _destroying(repository, state, wanted))
        copies = list(_copies(tier, wanted)) if wanted else []
        held = _let_snapshots_go(repository, tier, wanted, result)
        for copy in copies:
            if _key_id(copy.object_key) in held:
                result.left[copy.object_key] = "a hold keeps a snapshot that needs it"
            else:
                _delete(tier, copy, result)
        if wanted:
            result.left |= left_beside(tier, lambda key: _key_id(key) in wanted)
        if wanted and tier.store.capabilities.locks is None:
            result.left[KEY_PREFIX] = "these credentials must not know whether the bucket keeps older versions"
        if result.removed:
            key_change.record_keys(repository, tier)
    except RepositoryError as error:
        result.failed = error
    return result


def owed_snapshots(repository: Repository, tier: OpenTier) -> list[Snapshot]:
    """The snapshots that this tier lacks and that it is to have. By their ids: of a run that two writers made, each on
    a tier of its own, every tier gets both. What was erased nobody can read, so that nobody can say what it needs.
    """
    own = tier.log.state
    snapshots = [
        each for each in repository.snapshots() if each.id not in own.snapshots and each.id not in own.forgotten
    ]
    return not_erased(repository, snapshots)


def not_erased(repository: Repository, snapshots: list[Snapshot]) -> list[Snapshot]:
    """Those of these that are no erased domain's: nobody is to have them any more."""
    destroyed = key_change.destroyed_keys(repository)
    if not destroyed or not snapshots:
        return snapshots
    going = {keys.identity_id.hex() for keys in _of(repository, destroyed)}
    gone = Erased(repository, ChunkReader(nearest_first(repository.readable_tiers()), repository.keys).chunk)
    return [each for each in snapshots if each.brief.domain not in going and not gone.has(each)]


def _order(repository: Repository, tier: OpenTier, key_ids: Collection[str]) -> set[str]:
    """Say on the tier that the keys are destroyed; its snapshots of the domain are forgotten before.

    Returns which keys those are: with these all of their domain, also one that another made meanwhile. Raises
    `UnknownKey` where the log names a new key and nobody can say whose it is.
    """
    identities = {keys.identity_id.hex() for keys in _of(repository, key_ids)}
    others = [peer.log.state for peer in repository.sources_for(tier)]

    def decide(state: LogState) -> Body | None:
        _open(repository, state.key_objects, is_strict=True)
        left = _live(state, identities)
        if left:  # a writer may commit one more in between
            return _forgetting(repository, state, others, left, key_ids)
        return _destroying(repository, state, repository.keys.with_domains(key_ids))

    while tier.log.append(decide) is not None:
        pass
    return repository.keys.with_domains(key_ids)


def _destroying(repository: Repository, state: LogState, key_ids: Collection[str]) -> KeysDestroyed | None:
    new = tuple(sorted(each for each in key_ids if each not in state.destroyed_keys))
    return KeysDestroyed(time_ns=repository.clock.now_ns(), key_ids=new) if new else None


def _open(repository: Repository, object_keys: Iterable[str], *, is_strict: bool = False) -> None:
    """Add to the ring what others made since the repository was opened. `is_strict`: raise `UnknownKey` where one of
    these, which was not known before, cannot be opened.
    """
    ring = repository.keys
    known = ring.shut.union(ring.destroyed, map(key_id_of, ring.lost))
    for key_id in {key_id_of(each) for each in object_keys} - known:
        try:
            ring.by_id(bytes.fromhex(key_id))
        except (UnknownKey, ValueError):  # anybody may put something there, under whatever name
            if is_strict:
                raise


def _let_snapshots_go(repository: Repository, tier: OpenTier, key_ids: Collection[str], result: TierErased) -> set[str]:
    """Forget what is left of the keys' domains on the tier; returns the ids of keys that a hold keeps."""
    if not key_ids:
        return set()
    own: dict[str, set[str]] = {}
    for keys in _of(repository, key_ids):
        own.setdefault(keys.identity_id.hex(), set()).add(keys.key_id.hex())
    # And what a writer committed who had not heard of it, where nothing opens the domain any more.
    gone = Erased(repository, ChunkReader(nearest_first(repository.readable_tiers()), repository.keys).chunk)
    live = {each.brief.domain: each for each in tier.log.state.snapshots.plain().values()}
    own |= {domain: set() for domain, each in live.items() if domain not in own and gone.has(each)}
    held: set[str] = set()
    others = [peer.log.state for peer in repository.sources_for(tier)]
    for identity, ids in own.items():

        def decide(state: LogState, identity: str = identity, ids: Collection[str] = ids) -> Body | None:
            left = _live(state, {identity})
            return _forgetting(repository, state, others, left, ids) if left else None

        try:
            while (entry := tier.log.append(decide)) is not None:
                result.snapshots += len(entry.body.snapshots) if isinstance(entry.body, SnapshotsForgotten) else 0
        except SnapshotHeld:
            held |= ids
    return held


def _forgetting(
    repository: Repository,
    state: LogState,
    others: Sequence[LogState],
    snapshots: Sequence[str],
    key_ids: Collection[str],
) -> SnapshotsForgotten:
    holds = joint_holds((state, *others))
    for each in snapshots:
        if names := holding(each, holds):
            raise SnapshotHeld("a hold keeps a snapshot of the domain", id=each, hold=names[0])
    going, reason = tuple(snapshots[:AT_ONCE]), reason_of(key_ids)
    return SnapshotsForgotten(time_ns=repository.clock.now_ns(), snapshots=going, reason=reason)


def _live(state: LogState, identities: Collection[str]) -> list[str]:
    return (
        [each.id for each in state.snapshots.plain().values() if each.brief.domain in identities] if identities else []
    )


def _of(repository: Repository, key_ids: Collection[str]) -> Iterator[DomainKeys]:
    return (keys for keys in repository.keys.all() if keys.key_id.hex() in key_ids)


def _key_id(object_key: str) -> str:
    return key_id_of(object_key.removeprefix(QUARANTINE_PREFIX))


def _copies(tier: OpenTier, key_ids: Collection[str]) -> Iterator[KeyCopy]:
    """The wrapped keys of these that lie on the tier, and what a repair set aside. Raises the store's errors."""
    for prefix in (KEY_PREFIX, QUARANTINE_PREFIX + KEY_PREFIX):
        for info in tier.store.list(prefix):
            if _key_id(info.key) in key_ids:
                yield KeyCopy(info.key, locked_until(tier, info.key))


def _delete(tier: OpenTier, copy: KeyCopy, result: TierErased) -> None:
    if (why := delete_copy(tier, copy.object_key)) is None:
        result.removed.append(copy.object_key)
    else:
        result.left[copy.object_key] = why
