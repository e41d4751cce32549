"""How a backup came out: what it kept, and on which tiers."""

from collections.abc import Sequence
from dataclasses import dataclass

from repository.backup.fanout import Delivery
from repository.backup.problems import FileError
from repository.backup.session import ClassCount
from repository.backup.source import Reason
from repository.errors import RepositoryError
from repository.format import ContentClass
from repository.stored.snapshot import ClassTotals, Snapshot, Totals


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

    @property
    def required_missing(self) -> list[str]:
        """Required tiers that do not have the snapshot: the run is not complete before they do."""
        return [name for name, tier in self.tiers.items() if tier.is_required and tier.state is not Delivery.COMMITTED]


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
