"""Objects under delete markers: somebody deleted them, and the versions beneath are what a tier is read from.

Promise: what is needed and hidden is told, folder by folder, since who prunes versions that nothing shows any more, as
rules of buckets do, would take them; and it is uncovered by a repair. What a prune may delete is nobody's concern.
"""

from __future__ import annotations

from collections.abc import Iterator

from repository.format import pack_id_in
from repository.index.segments import INDEX_PREFIX
from repository.keys.key_ring import KEY_PREFIX
from repository.opened.open_tier import OpenTier
from repository.opened.pending import PENDING_PREFIX
from repository.stored.log_entry import entry_number
from repository.stored.manifest_object import manifest_id
from repository.stored.pin import PIN_PREFIX
from repository.tiers.port import Hidden
from repository.upkeep.check_report import Finding, Problem
from repository.upkeep.quarantine import QUARANTINE_PREFIX


def hidden_findings(tier: OpenTier) -> Iterator[Finding]:
    """One for each folder with such objects: the first of them, and how many there are. Raises the store's errors."""
    folders: dict[str, list[Hidden]] = {}
    for each in needed_and_hidden(tier):
        folders.setdefault(each.key.partition("/")[0], []).append(each)
    for folder, (first, *others) in folders.items():
        since = min(each.since for each in (first, *others)).isoformat()
        more = f", and {len(others):,} more below {folder}/" if others else ""
        detail = f"somebody deleted it: it lies under a delete marker{more}, since {since}; its bytes are still there"
        yield Finding(tier.name, Problem.HIDDEN, first.key, detail, (tier.name,))


def needed_and_hidden(tier: OpenTier) -> Iterator[Hidden]:
    """Raises the store's errors."""
    packs = tier.index.pack_ids()
    return (each for each in tier.store.hidden() if _is_needed(tier, each.key, packs))


def _is_needed(tier: OpenTier, key: str, packs: set[bytes]) -> bool:
    state = tier.log.state
    if (pack_id := pack_id_in(key)) is not None:
        return pack_id in packs
    if key.startswith(INDEX_PREFIX):
        return key.removeprefix(INDEX_PREFIX) in state.segments
    if key.startswith(KEY_PREFIX):
        return key in state.key_objects
    if (identity := manifest_id(key)) is not None:
        return identity in state.snapshots
    if (number := entry_number(key)) is not None:
        return number <= state.head.number
    return not key.startswith((PENDING_PREFIX, PIN_PREFIX, QUARANTINE_PREFIX))
