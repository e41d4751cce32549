"""Which root is in force, as the tiers' logs say it, and a tier that was away when that changed.

Promise: such a tier is written to only where it shows what was known of it then: what whoever has the old root put
behind that is not believed.
"""

from __future__ import annotations

from repository.errors import Replayed
from repository.keys.key_ring import Rank
from repository.log.state import Head
from repository.opened.open_tiers import OpenTiers
from repository.opened.tier_state import TierState
from repository.opened.withheld import withheld_by


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
            if tier.is_readable and tier.log.state.faults and withheld_by(tier) is None:
                hint = (
                    f"It was away when the root was changed; what lies behind entry {known.number} may be anybody's who"
                    f" has the old root. Is it your own: `repo repair --accept-history {tier.name}`."
                )
                error = Replayed("tier shows what a replaced root signed", hint=hint, tier=tier.name)
                tier.set_state(TierState.REPLAYED, error)
