"""How a backup came out: what it kept, and on which tiers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from repository.backup.fanout import Delivery
from repository.backup.problems import FileError
from repository.backup.session import ClassCount
from repository.backup.source import Reason
from repository.errors import RepositoryError, SnapshotNotFound, TierBehind
from repository.format import ContentClass
from repository.opened.open_tier import FORGOTTEN_HINT, OpenTier
from repository.stored.snapshot import ClassTotals, Snapshot, Totals


def has_nothing(snapshot: Snapshot) -> bool:
    """Whether it holds no file and nothing like one, and none that could not be read was to be in it."""
    totals = snapshot.manifest.totals
    return not (totals.files or totals.others or totals.failed)


def is_emptied(snapshot: Snapshot, others: Iterable[Snapshot]) -> bool:
    """Whether it holds no file, and another of the same source does: most likely a disk that is not mounted.

    Not only the one before it: the second night of a disk that is away is no better than the first.
    """
    return has_nothing(snapshot) and any(each.manifest.totals.files for each in others)


@dataclass(frozen=True, slots=True)
class TierResult:
    """How one tier came out of a backup. Bytes are those of packs."""

    state: Delivery
    error: Exception | None
    bytes_sent: int
    packs_sent: int
    seconds: float
    is_required: bool


@dataclass(frozen=True, slots=True)
class BackupResult:
    """What a backup kept, and where. `file_errors` are bounded; `error_counts` count all."""

    snapshot: Snapshot
    tiers: dict[str, TierResult]
    file_errors: list[FileError]
    error_counts: dict[Reason, int]
    seconds: float
    was_committed_before: bool = False
    packs: frozenset[bytes] | None = None
    """The packs that the snapshot leans on, its own included; None where it was committed before."""
    parent_error: RepositoryError | None = None
    """Why some of the parent's tree could not be read, from any tier: what it tells of was read anew."""

    @property
    def snapshot_id(self) -> str:
        """Hexadecimal, the same on every tier."""
        return self.snapshot.id

    @property
    def totals(self) -> Totals:
        """What the snapshot holds and what it added."""
        return self.snapshot.manifest.totals

    @property
    def by_class(self) -> dict[str, ClassTotals]:
        """Bytes per content class."""
        return self.snapshot.manifest.by_class

    @property
    def is_degraded(self) -> bool:
        """Whether a tier is owed a catch-up."""
        return any(tier.state is not Delivery.COMMITTED for tier in self.tiers.values())

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Which of these tiers do not have the snapshot, also those that took no part: a run that requires them is not
        complete before they do.
        """
        committed = {name for name, tier in self.tiers.items() if tier.state is Delivery.COMMITTED}
        return [name for name in names if name not in committed]


def found_of_run(tiers: Iterable[OpenTier], run_token: str) -> dict[str, Snapshot]:
    """What tiers have of a run by now, by name. Raises `SnapshotNotFound` where it was forgotten."""
    found: dict[str, Snapshot] = {}
    for tier in tiers:
        state = tier.log.state
        identity = state.by_token.get(run_token)
        if identity is None:
            continue
        snapshot = state.snapshots.get(identity)
        if snapshot is None:
            message = "this run's snapshot was forgotten"
            raise SnapshotNotFound(message, hint=FORGOTTEN_HINT, tier=tier.name, id=identity)
        found[tier.name] = snapshot
    return found


def of_one_run(
    committed: Mapping[str, Snapshot], required: Collection[str] = ()
) -> tuple[Snapshot, dict[str, TierBehind]]:
    """A run's snapshot, and why other tiers (by name) do not have it. `committed`: what each tier has of the run.

    Two writers of one run that see different tiers commit one each. The one on more required tiers counts, then the one
    on more tiers, then the older one: so both writers say the same. Catch-up gives each tier the other one, too.
    """
    on: dict[str, list[str]] = {}
    for name, snapshot in committed.items():
        on.setdefault(snapshot.id, []).append(name)

    def rank(snapshot: Snapshot) -> tuple[int, int, int, str]:
        names = on[snapshot.id]
        return -sum(name in required for name in names), -len(names), snapshot.brief.time_ns, snapshot.id

    chosen = min(committed.values(), key=rank)
    others = {
        name: TierBehind(
            "tier has another snapshot of this run, by a writer who saw other tiers", tier=name, id=snapshot.id
        )
        for name, snapshot in committed.items()
        if snapshot.id != chosen.id
    }
    return chosen, others


def by_class_of(counts: Sequence[ClassCount]) -> dict[str, ClassTotals]:
    """The counts of each class that was met, by the class's name."""
    return {
        content_class.name.lower(): ClassTotals(
            chunks=count.chunks,
            source_bytes=count.source_bytes,
            new_bytes=count.new_bytes,
            stored_bytes=count.stored_bytes,
        )
        for content_class, count in zip(ContentClass, counts, strict=True)
        if count.chunks
    }
