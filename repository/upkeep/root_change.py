"""Another root in the place of the one that signs: made, put on every tier, and said by every tier's log.

Promise: the change is finished by the same call after a crash anywhere, also by the next backup. What was there before
counts as before: each log names it; of tiers that are away, up to what was seen of them before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from repository.errors import RepositoryError
from repository.keys.key_ring import ROOT_DOMAIN, DomainKeys, KeyProvider, new_keys, wrap
from repository.opened.key_change import put_wrapped, record_keys, refuse_ended
from repository.opened.open_tier import OpenTier
from repository.upkeep.stream_repair import name_streams

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def change_root(repository: Repository, provider: KeyProvider) -> tuple[bool, dict[str, RepositoryError | None]]:
    """Let a new root take the place of the one in force, or finish a change that was begun; of two at once one stays.

    Says whether the root is a new one, and of each ready tier whether it is in force there. Raises `UnknownKey` (keys
    are lost), `KeyNotGiven` (this one was removed) and what the provider raises.
    """
    refuse_ended(repository, provider)
    ring = repository.keys
    ring.expect_none_lost()
    root = ring.newest_root
    is_new = root is ring.root and not any(tier.log.lags for tier in repository.ready_tiers())
    made: list[DomainKeys] = []
    if is_new:
        root = new_keys(repository.id, ROOT_DOMAIN, root.generation + 1, repository.randomness)
    if is_new or ring.active() is ring.first_root:
        # Whoever has the old root reads nothing that is written from now on, either.
        made.append(ring.active().next_generation(repository.randomness))
    wrapped = [wrap(keys, provider) for keys in (root, *made)]
    outcome: dict[str, RepositoryError | None] = {}
    for tier in repository.ready_tiers():
        with _told(outcome, tier):
            put_wrapped(repository, tier, wrapped, provider)
    if any(error is None for error in outcome.values()):
        for keys in (root, *made):
            ring.add(keys)
        for tier in [tier for tier in repository.ready_tiers() if outcome[tier.name] is None]:
            with _told(outcome, tier):
                # What a stream's pieces are behind what the log says of it nobody would believe any more.
                name_streams(repository, tier)
                tier.log.change_root(root, _witnesses(repository, tier))
                record_keys(repository, tier)
    return is_new, outcome


def _witnesses(repository: Repository, tier: OpenTier) -> dict[str, tuple[int, str]]:
    """The heads of the other tiers: as they are, and of those that are away as they were seen. None is this one's own:
    a log that bears witness to an id does not take it.
    """
    state = tier.log.state
    own = {each.hex() for each in (*state.past_tier_ids, state.tier_id) if each is not None}
    seen = {identity: head for identity, head in repository.heads_seen().items() if identity not in own}
    return seen | tier.witnesses()


@contextmanager
def _told(outcome: dict[str, RepositoryError | None], tier: OpenTier) -> Iterator[None]:
    try:
        outcome[tier.name] = None
        yield
    except RepositoryError as error:
        outcome[tier.name] = error
