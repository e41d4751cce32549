"""In which order snapshots were made: by their own clocks, never before what they were made from; what hides some."""

from collections.abc import Container, Mapping, Sequence

from repository.opened.open_tier import OpenTier
from repository.opened.own_folders import hides_log
from repository.opened.tier_state import TierState
from repository.stored.snapshot import Snapshot


def of_label(known: Mapping[str, Snapshot], label: str) -> dict[str, Snapshot]:
    """Those of a label, and what they were made from, which says when they were: these alone have to be in order."""
    chosen = {identity: each for identity, each in known.items() if each.brief.label == label}
    for each in list(chosen.values()):
        ancestor = each.brief.parent
        while ancestor is not None and ancestor in known and ancestor not in chosen:
            chosen[ancestor] = known[ancestor]
            ancestor = known[ancestor].brief.parent
    return chosen


def moments_of(known: Mapping[str, Snapshot]) -> dict[str, int]:
    """By id, when a snapshot was made (ns): by its own clock, and not before the one that it was made from."""
    moments: dict[str, int] = {}
    for identity in known:
        line, ancestor = _line_of(identity, known, moments)
        moment = moments.get(ancestor or "", 0)
        for each in reversed(line):
            moment = moments[each] = max(moment, known[each].brief.time_ns)
    return moments


def parents_first(order: Sequence[str], known: Mapping[str, Snapshot]) -> list[str]:
    """The same ids in the same order, but that each snapshot's parent comes before it."""
    placed: dict[str, None] = {}
    for identity in order:
        line, _ = _line_of(identity, known, placed)
        placed.update(dict.fromkeys(reversed(line)))
    return list(placed)


def _line_of(identity: str, known: Mapping[str, Snapshot], done: Container[str]) -> tuple[list[str], str | None]:
    """A snapshot with its ancestors, youngest first, as far as they are known and not done; and where that ended."""
    line: dict[str, None] = {}  # each once: a ring of parents, which only a forger makes, ends too
    ancestor: str | None = identity
    while ancestor is not None and ancestor in known and ancestor not in done and ancestor not in line:
        line[ancestor] = None
        ancestor = known[ancestor].brief.parent
    return list(line), ancestor


def may_hide(tier: OpenTier, *, newest: bool) -> bool:
    """Whether nobody can say that all snapshots (`newest`: that the newest) of the tier are listed."""
    state = tier.log.state
    if tier.state is TierState.REPLAYED or hides_log(tier.error):
        return True
    if not state.head.number:
        return tier.state is TierState.DAMAGED  # there are packs, and the log is gone
    last = max(state.entry_of.values(), default=0) if newest and state.faults else 0
    return any(fault.number > last for fault in state.faults)
