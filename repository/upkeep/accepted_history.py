"""A tier's present history, taken for good: whoever rolled it back, or copied it, had a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repository.errors import AccessDenied, Locked, NoUsableTier
from repository.keys.key_ring import Rank
from repository.log.state import LogState
from repository.opened import key_change
from repository.opened.open_tier import OpenTier, TierState
from repository.stored.log_entry import Body, HistoryAccepted
from repository.upkeep import quarantine
from repository.upkeep.stream_repair import name_streams

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def accept_history(repository: Repository, tier: OpenTier) -> bool:
    """Take a rolled-back tier's present history for good: an operator knows why it went back.

    The other ready tiers' logs say so, and void what they bore witness to; its own checkpoints of what came after are
    set aside and taken away. A tier that was made by copying another one, or whose checkpoints are locked, gets an
    identity of its own. Heads that a caller remembers
    are the caller's to forget. The tier is behind afterwards. Where a root was changed, what the old one signed counts
    from now on, pieces of streams, too. False where it shows what was seen of it, or its history was accepted before:
    nothing is done. Raises `NoUsableTier`, and what the tiers raise.
    """
    if tier.is_ready:
        # What a writer appended while the root was changed, and did not come to name.
        return bool(name_streams(repository, tier, by_any_root=True))
    if tier.state is not TierState.REPLAYED:
        message = "nothing is known of the tier's history"
        raise NoUsableTier.because(message, [tier.error], tier=tier.name, state=tier.state.value)
    if tier.log.lags:
        # What the old root signed is the operator's own: the new one names it from now on.
        tier.log.expect_root(Rank(), None)
        tier.set_state(TierState.READY, None)
        tier.load()
        key_change.copy_keys(repository, tier)
    is_copy = tier.log.state.tier_id and any(
        other is not tier and other.log.state.tier_id == tier.log.state.tier_id for other in repository.tiers
    )
    if not _take_away_later_checkpoints(repository, tier) or is_copy:
        # A copy of another tier, made on purpose: what was seen of that one says nothing of this one any more.
        tier.log.name_anew()
    identity, head = tier.log.state.tier_id or b"", tier.log.state.head

    def decide(state: LogState) -> Body | None:
        if identity not in state.witnesses or not tier.log.state.contradicts(state.witnesses[identity]):
            return None
        return HistoryAccepted(
            time_ns=repository.clock.now_ns(), tier_id=identity.hex(), number=head.number, digest=head.digest.hex()
        )

    for other in repository.ready_tiers():
        other.log.append(decide)
    tier.set_state(TierState.READY, None)
    tier.load()
    repository.detect_replays({})
    return True


def _take_away_later_checkpoints(repository: Repository, tier: OpenTier) -> bool:
    """Those of entries that this history does not have; whether none is left. What they say is kept in quarantine."""
    is_free = True
    for object_key in tier.log.checkpoints.unconfirmed(tier.log.state, tier.log.entry):
        quarantine.set_aside(tier.store, object_key, repository.randomness)
        try:
            tier.store.delete(object_key)
        except (Locked, AccessDenied):
            is_free = False
    return is_free
