"""Whether a tier shows less, or other, than was seen of it, and what has become of it then.

Promise: what was seen is compared with what is there by the tier's own id and by its place; a log of which the end was
cut off, tiers that were exchanged and a copy of another tier are told apart from a history that is another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from repository.errors import Replayed, TiersExchanged
from repository.log.state import Head
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.open_tiers import OpenTiers
from repository.opened.own_folders import hides_log, why_hidden
from repository.opened.seen import SeenTier

Known = Mapping[str, Sequence[SeenTier]]
"""What was seen before: by the name of the tier that is at the place now, and under "" of all tiers wherever."""


def contradictions(tiers: OpenTiers, tier: OpenTier, known: Known) -> list[Head]:
    """What was seen of a tier, or at its place, by its peers or by the caller, and does not fit what it shows."""
    if not tier.is_readable:
        return []
    state, judge = tier.log.state, tier.log.contradicts
    here = [each.head for each in known.get(tier.name, ()) if each.contradicts(state, judge)]
    return here + _of_its_own(tiers, tier, known)


def _of_its_own(tiers: OpenTiers, tier: OpenTier, known: Known) -> list[Head]:
    """The same of what was seen of the log of this id, wherever that was."""
    identity = tier.log.state.tier_id
    seen = [each.head for each in known.get("", ()) if each.tier_id == identity]
    if identity is not None:
        peers = (peer for peer in tiers.readable_tiers() if peer is not tier)
        witnesses = (peer.log.state.witnesses.get(identity) for peer in peers)
        seen += [head for head in witnesses if head is not None]
    seen += [head for vouched, head in tier.log.checkpoints.vouched if vouched == identity]
    return [head for head in seen if tier.log.contradicts(head)]


def heads_beyond(tiers: OpenTiers, tier: OpenTier, known: Known) -> list[Head]:
    """The heads that were seen of a log of which nothing but the end is gone; none where that is not what happened."""
    heads, shown = contradictions(tiers, tier, known), tier.log.state.head.number
    is_cut = bool(heads) and all(head.number > shown for head in heads)
    return heads if is_cut and _came_from(tiers, tier, known) is None else []


def detect(tiers: OpenTiers, known: Known) -> None:
    """Set REPLAYED where a tier shows less, or other, than was seen of it, and DAMAGED where something hides its log.

    What seems to contradict is read again first: the tiers were read at different moments, and another writer
    may have committed in between, so that a slow tier's entries bear witness to what a fast one got since.
    """
    for tier in tiers.readable_tiers():
        if contradictions(tiers, tier, known):
            tier.load()
        heads = contradictions(tiers, tier, known)
        if not heads:
            continue
        # All of them: which one says how much is hidden.
        hidden = [why_hidden(tier.store, tier.log.state.head.number, head.number) for head in heads]
        blocked = next((each for each in hidden if each is not None), None)
        if blocked is not None:
            tier.set_state(TierState.DAMAGED, blocked)
        else:
            tier.set_state(TierState.REPLAYED, _what_happened(tiers, tier, known, max(heads)))
    _detect_copies(tiers)


def _what_happened(tiers: OpenTiers, tier: OpenTier, known: Known, seen: Head) -> Replayed:
    shown = tier.log.state.head.number
    if (other := _came_from(tiers, tier, known)) is not None:
        hint = (
            f"Mount the disks, or put the folders, as they were; nothing is lost: `{tier.name}` shows what"
            f" `{other.name}` had. Are they to stay so: `repo repair --accept-history {tier.name}`."
        )
        return TiersExchanged("tiers were exchanged", hint=hint, tier=tier.name, other=other.name)
    if heads_beyond(tiers, tier, known):
        is_alone = not any(other is not tier for other in tiers.readable_tiers())
        # Of a log of which nothing is left, and no other tier to take its place from, every entry is to be given up.
        also = " --bridge" if is_alone and not shown else ""
        hint = (
            "`repo repair` puts the end back where copies of all of it are left. If not, use another tier meanwhile"
            f" and find out who cut it off. Is what it shows to count: `repo repair --accept-history {tier.name}{also}`"
            ", which commits again what there are copies of."
        )
        return Replayed("end of the tier's log is gone", hint=hint, tier=tier.name, seen=seen.number, shown=shown)
    hint = Replayed.hint.replace("NAME", tier.name)
    return Replayed("tier shows another history", hint=hint, tier=tier.name, seen=seen.number, shown=shown)


def _came_from(tiers: OpenTiers, tier: OpenTier, known: Known) -> OpenTier | None:
    """At whose place this tier was seen, whole, before it was here, where all that was seen here is now elsewhere."""
    identity = tier.log.state.tier_id
    if identity is None or _of_its_own(tiers, tier, known):
        return None
    was_here = {each.tier_id for each in known.get(tier.name, ())} - {None, identity}
    others = [other for other in tiers.readable_tiers() if other is not tier]
    if not was_here or not was_here.issubset(other.log.state.tier_id for other in others):
        return None
    return next(
        (other for other in others if any(each.tier_id == identity for each in known.get(other.name, ()))), None
    )


def _detect_copies(tiers: OpenTiers) -> None:
    """One log on two tiers: the one that is behind, or stands behind, is the copy, and must not go on as the other.

    Both would write the same numbers, and each would look like the other one rolled back.
    """
    originals: dict[bytes, OpenTier] = {}
    for tier in sorted(tiers.readable_tiers(), key=lambda each: -each.log.state.head.number):
        identity = tier.log.state.tier_id
        if identity is None or hides_log(tier.error):  # what lies in its log's place leads to another one's
            continue
        original = originals.setdefault(identity, tier)
        if original is not tier and tier.is_ready:
            hint = (
                f"`repo repair --accept-history {tier.name}` makes it a tier of its own, if you copied it on purpose."
            )
            error = Replayed("tier has the log of another one", hint=hint, tier=tier.name, other=original.name)
            tier.set_state(TierState.REPLAYED, error)
