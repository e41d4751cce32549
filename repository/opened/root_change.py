"""Another root in the place of the one that signs: made, said on every tier, and looked for when a tier comes back.

Promise: the change is finished by the same call after a crash anywhere. A tier that was away when it was made says so
itself before anything else is written to it, and only where it shows what was known of it then: what whoever has the
old root put behind that is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from repository.errors import Replayed, RepositoryError
from repository.keys.key_ring import ROOT_DOMAIN, DomainKeys, KeyProvider, Rank, new_keys, wrap
from repository.log.state import Head
from repository.opened.key_change import put_wrapped, record_keys
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.opened.tier_state import TierState


def change_root(repository: OpenTiers, provider: KeyProvider) -> tuple[bool, dict[str, RepositoryError | None]]:
    """Let a new root take the place of the one in force, or finish a change that was begun; of two at once one stays.

    Says whether the root is a new one, and of each ready tier whether it is in force there. Raises `UnknownKey` (keys
    are lost) and what the provider raises.
    """
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
                tier.log.change_root(root, tier.witnesses())
                record_keys(repository, tier)
    return is_new, outcome


@contextmanager
def _told(outcome: dict[str, RepositoryError | None], tier: OpenTier) -> Iterator[None]:
    try:
        outcome[tier.name] = None
        yield
    except RepositoryError as error:
        outcome[tier.name] = error


def judge(repository: OpenTiers, remembered: Rank) -> None:
    """Set REPLAYED where a tier shows what an old root put there after it was replaced: that is not believed.

    `remembered`: the last root that somebody saw in force. Where no tier names that one all are read with care.
    """
    tiers = [tier for tier in repository.readable_tiers() if tier.log.state.head.number]
    newest = max((tier.log.state.root for tier in tiers), default=Rank())
    for tier in tiers:
        if remembered > newest:
            hint = f"Give the tiers that have it as well. If they are gone: `repo repair --accept-history {tier.name}`."
            error = Replayed("another root was in force when the tiers were last seen", hint=hint, tier=tier.name)
            tier.set_state(TierState.REPLAYED, error)
        elif tier.log.lags:
            seen = [
                peer.log.state.witnesses.get(tier.log.state.tier_id or b"")
                for peer in tiers
                if peer.log.state.root == newest
            ]
            known = max((head for head in seen if head is not None), default=Head(0, tier.log.state.genesis))
            tier.log.expect_root(newest, known)
            tier.load()
            if tier.is_readable and tier.log.state.faults:
                hint = (
                    f"It was away when the root was changed; what lies behind entry {known.number} may be anybody's who"
                    f" has the old root. Is it your own: `repo repair --accept-history {tier.name}`."
                )
                error = Replayed("tier shows what a replaced root signed", hint=hint, tier=tier.name)
                tier.set_state(TierState.REPLAYED, error)
