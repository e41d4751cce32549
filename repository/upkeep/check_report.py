"""What a check says: findings, each naming one object and where a whole copy of it is."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier, TierState


class Problem(StrEnum):
    """What is wrong with an object, or worth knowing."""

    TIER = "tier"
    """The tier cannot be looked at, or not to the end, or (where it is named) an object of it: nobody knows whether it
    is damaged."""
    REPLAYED = "replayed"
    """The tier shows an older or another history than was seen."""
    BLOCKED = "place-blocked"
    """Something that is no folder lies in the place of one: a file, say, or a link that leads elsewhere."""
    CONFIG = "config"
    KEY = "key"
    LOG_ENTRY = "log-entry"
    LOG_LOST = "log-lost"
    """The tier has packs and no log: none of the snapshots that it had is known there any more."""
    MANIFEST = "manifest"
    """The second copy of a snapshot's manifest; the log has the first."""
    CHECKPOINT = "checkpoint"
    """A checkpoint that the log does not confirm: nobody believes it, and opening takes longer."""
    STREAM_PIECE = "stream-piece"
    """A piece of a stream is missing, damaged, or not the one that belongs there."""
    STREAM_FORKED = "stream-forked"
    """Another tier has another history of a stream: two writers saw different tiers."""
    STREAM_UNNAMED = "stream-unnamed"
    """A stream is here, and the log, which lost an entry, does not name it."""
    SEGMENT = "index-segment"
    PACK_MISSING = "pack-missing"
    PACK_DAMAGED = "pack-damaged"
    PACK_SHARED = "pack-shared"
    """A pack is the very file of another tier (a hard link): it is kept once and counted twice."""
    INDEX_INCOMPLETE = "index-incomplete"
    """A pack holds what the index does not list, or lists otherwise."""
    TREE = "tree"
    """A snapshot's tree cannot be read, or references what the index does not have."""
    ORPHAN = "orphan"
    """A pack that no row points at: left by a writer that died. Costs space, harms nothing."""
    UNCOMMITTED = "uncommitted"
    """A snapshot is whole and its copy is here, and the log, which was cut off or lost its entry, does not have it."""
    ABANDONED = "abandoned"
    """The copy of a snapshot that was never committed, as far as one can know, or a checkpoint of a history that was
    given up. Costs space, harms nothing."""
    ERASED = "erased"
    """A snapshot whose keys were destroyed, as was ordered: nobody can read it any more."""
    TORN = "changed-while-saved"
    """Files of a snapshot were written to while they were saved. They are kept as they were read."""
    STRANGE = "strange-object"
    """An object that no part of the format explains."""
    UNLOCKED = "unlocked"
    """An object is not locked, or not as long as a snapshot that needs it says: somebody could delete it."""
    UNHELD = "unheld"
    """An object that a held snapshot needs is under no legal hold, on a tier that locks: somebody could delete it."""
    HIDDEN = "hidden"
    """Somebody put delete markers over objects that are needed: the bytes are beneath, as long as a lock keeps them."""
    HOLDS_UNKNOWN = "holds-unknown"
    """The tier does not tell on which of its objects legal holds are."""
    LOCKS_UNKNOWN = "locks-unknown"
    """The tier does not tell which of its objects are locked."""


NOTES = frozenset(
    (
        Problem.ORPHAN,
        Problem.ABANDONED,
        Problem.ERASED,
        Problem.TORN,
        Problem.STRANGE,
        Problem.LOCKS_UNKNOWN,
        Problem.HOLDS_UNKNOWN,
    )
)
"""What is worth knowing and no damage."""
_KINDS = {
    "config": "config",
    "keys": "key",
    "log": "log-entry",
    "snapshots": "manifest",
    "checkpoints": "checkpoint",
    "streams": "stream-piece",
    "index": "index-segment",
    "packs": "pack",
}
"""By the first part of its key, what an object is called."""
OF_PACKS = frozenset((Problem.PACK_MISSING, Problem.PACK_DAMAGED))


class Finding(NamedTuple):
    """One object with a problem. `repairable_from`: the tiers (its own too, where its other objects
    suffice) from which `repair` can make it whole; empty: none that was reachable. `not_read_on`: those of them
    where the object is there, and the check did not read it: whether it is whole is not known.
    """

    tier: str
    problem: Problem
    object_key: str
    detail: str
    repairable_from: tuple[str, ...] = ()
    not_read_on: tuple[str, ...] = ()

    @property
    def is_damage(self) -> bool:
        """Whether something has to be done."""
        return self.problem not in NOTES

    @property
    def is_unknown(self) -> bool:
        """Whether the tier, or this object of it, could not be looked at: nobody knows whether it is damaged."""
        return self.problem is Problem.TIER

    @property
    def kind(self) -> str:
        """The problem, or what kind of object could not be looked at."""
        return _KINDS.get(self.object_key.partition("/")[0], self.problem.value) if self.is_unknown else self.problem


class CheckProgress(NamedTuple):
    """How far the reading of packs is."""

    tier: str
    packs_done: int
    packs_total: int
    bytes_done: int


@dataclass
class TierCounts:
    """What was looked at on one tier."""

    snapshots: int = 0
    log_entries: int = 0
    segments: int = 0
    rows: int = 0
    packs: int = 0
    pack_bytes: int = 0
    streams: int = 0
    pieces: int = 0
    pieces_read: int = 0
    tree_chunks: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    chunks_read: int = 0


@dataclass
class CheckReport:
    """The outcome of a check.

    `harmed`: by tier, the snapshots that it cannot give back whole by itself, as far as the check looked.
    """

    findings: list[Finding] = field(default_factory=list)
    harmed: dict[str, list[str]] = field(default_factory=dict)
    tiers: dict[str, TierCounts] = field(default_factory=dict)

    def judge_sources(self, read: Collection[tuple[str, str]]) -> None:
        """After all tiers: no source of a bad pack is a tier where it is bad, too, and where it was not read is told.

        `read`: tier and object key of each pack that was read back.
        """
        bad = {(each.tier, each.object_key) for each in self.findings if each.problem in OF_PACKS}
        for place, each in enumerate(self.findings):
            if each.problem in OF_PACKS:
                sources = tuple(name for name in each.repairable_from if (name, each.object_key) not in bad)
                unread = tuple(name for name in sources if (name, each.object_key) not in read)
                self.findings[place] = each._replace(repairable_from=sources, not_read_on=unread)

    @property
    def damage(self) -> list[Finding]:
        """The findings that something has to be done about."""
        return [finding for finding in self.findings if finding.is_damage]

    @property
    def is_ok(self) -> bool:
        """Whether there is no damage on any tier that was asked for."""
        return not self.damage


def unknown(tier: str, object_key: str, error: RepositoryError) -> Finding:
    """That an object (all of the tier, where none is named) was not to be looked at, and what to do about that."""
    hint = f". {error.hint}" if error.hint else ""
    return Finding(tier, Problem.TIER, object_key, f"{error.code}: {error}{hint}")


def unknown_once(findings: Iterable[Finding]) -> list[Finding]:
    """The findings; of a tier's objects below one folder that are not given for one reason the first, and how many."""
    named: dict[tuple[str, str], list[Finding]] = {}
    found = list[Finding]()
    for each in findings:
        if each.problem is Problem.TIER and each.object_key:
            alike = named.setdefault((each.object_key.partition("/")[0], each.detail.partition(":")[0]), [])
            alike.append(each)
        else:
            found.append(each)
    for (folder, _), (first, *others) in named.items():
        more = f" (And {len(others):,} more below {folder}/.)" if others else ""
        found.append(first._replace(detail=first.detail + more))
    return found


def why_not(tier: OpenTier) -> str:
    """Why nothing of the tier is looked at, in words."""
    if tier.state is TierState.EMPTY and tier.error is None:
        return f"{tier.state}: there is no repository here; `repo catch-up` fills a tier that is meant to be empty"
    return f"{tier.state}: {tier.error}{f'. {tier.error.hint}' if tier.error is not None and tier.error.hint else ''}"
