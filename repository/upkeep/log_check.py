"""What is wrong with a tier's log: its entries and its checkpoints.

Promise: an entry that may not be read is unknown by its name, and nothing that it may say is called lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from repository.errors import AccessDenied
from repository.opened.open_tier import OpenTier
from repository.stored.log_entry import LOG_PREFIX, entry_object_key
from repository.upkeep.check_report import Finding, Problem, TierCounts, unknown
from repository.upkeep.log_repair import FaultyEntry, FaultyLog
from repository.upkeep.manifests import unclaimed_findings

if TYPE_CHECKING:
    from repository.opened.repository import Repository


def log_findings(repository: Repository, tier: OpenTier, counts: TierCounts, *, has_packs: bool) -> Iterator[Finding]:
    """What lies in the log, and what it lacks. Raises the tier's errors."""
    state = tier.log.state
    counts.log_entries = state.head.number
    counts.snapshots = len(state.snapshots)
    log = FaultyLog(repository, tier)
    yield from _checkpoints(tier, log)
    if has_packs and not state.head.number:
        detail = "tier has packs and no log: all snapshots of this tier are lost, but for those of other tiers"
        sources = tuple(other.name for other in repository.sources_for(tier) if other.snapshots())
        yield Finding(tier.name, Problem.LOG_LOST, LOG_PREFIX, detail, sources)
    yield from unclaimed_findings(tier, log.state)
    for identity in log.only_in_checkpoint():
        detail = "a checkpoint alone has it: its log entry is lost"
        yield Finding(tier.name, Problem.UNCOMMITTED, f"snapshot {identity}", detail, (tier.name,))
    if log.only_said_by_checkpoint(0):
        detail = "a checkpoint alone says what lost entries said of holds, packs, keys, streams or forgotten snapshots"
        yield Finding(tier.name, Problem.UNCOMMITTED, LOG_PREFIX, detail, (tier.name,))
    for entry in log.entries():
        yield _of_entry(tier, log, entry)


def _checkpoints(tier: OpenTier, log: FaultyLog) -> Iterator[Finding]:
    for object_key in tier.log.checkpoints.names():
        try:
            error = log.refutes(object_key)
        except AccessDenied as denied:
            yield unknown(tier.name, object_key, denied)
            continue
        if error is not None and log.is_of_given_up_history(object_key):
            detail = "it is of a history that was given up"
            yield Finding(tier.name, Problem.ABANDONED, object_key, detail)
        elif error is not None:
            yield Finding(tier.name, Problem.CHECKPOINT, object_key, f"{error.code}: {error}", (tier.name,))


def _of_entry(tier: OpenTier, log: FaultyLog, entry: FaultyEntry) -> Finding:
    key, error = entry_object_key(entry.number), entry.error
    if isinstance(error, AccessDenied):
        return unknown(tier.name, key, error)
    detail = f"{error.code}: {error}"
    if entry.copy is not None:
        return Finding(tier.name, Problem.LOG_ENTRY, key, detail, (entry.copy.tier,))
    if log.may_be_bridged(entry):
        return Finding(tier.name, Problem.LOG_ENTRY, key, detail, (tier.name,))
    lost = f"no whole copy of it was found, and {entry.may_have_held} may have been in it"
    if log.withheld:
        lost += f"; nothing is given up before {entry_object_key(min(log.withheld))} can be read"
    return Finding(tier.name, Problem.LOG_ENTRY, key, f"{detail}; {lost}")
