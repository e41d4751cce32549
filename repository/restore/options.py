"""What a restore is asked for, and what it tells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from repository.errors import InvalidKey, RepositoryError, Retry, TierError
from repository.index.pack_catalog import is_fault_of_object
from repository.progress import Progress

Glob: TypeAlias = bytes | str


class Conflict(StrEnum):
    """What to do where something is in the way.

    `refuse`: the target has to be absent or empty (or hold what an interrupted restore of the same
    snapshot left, which is gone on with). `skip`: leave it. `overwrite`: replace it, whole file by whole
    file. `rename`: restore beside it, under a name with the snapshot's id.
    """

    REFUSE = "refuse"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    RENAME = "rename"


class Trouble(StrEnum):
    """Why an entry is not as it was."""

    DAMAGED = "damaged"  # no tier has all of its bytes; what there is, is beside it as `….incomplete`
    UNREADABLE = "unreadable"  # a tier has it and does not give it (rights, say): whether it is whole is not known
    UNREACHABLE = "unreachable"  # the same, of a tier that does not answer: the same restore may go on later
    HOSTILE_NAME = "hostile-name"  # a name that would lead out of its folder: not restored
    NOT_CREATED = "not-created"  # the system refused; `detail` is its word
    DEVICE = "device"  # a device, which only root may make: not restored
    IN_THE_WAY = "in-the-way"  # something else has its name and is left as it is: not restored
    NOT_SAVED = "not-saved"  # could not be read when the backup was made
    CHANGED = "changed"  # was written to while it was backed up: may be a mixture of both states, as it is kept
    OWNER = "owner"  # bytes are whole, as with all that follow; owner or group could not be set
    PRIVILEGES = "privileges"  # setuid, setgid or capabilities were left out, for want of the owner
    MODE = "mode"  # permissions could not be set
    XATTR = "xattr"  # an extended attribute could not be set, or is lost
    ACL = "acl"  # an ACL could not be set, or one of the target's cannot be taken away
    TIMES = "times"  # the time of the last change could not be set
    LINK = "link"  # a name of a file with several is a file of its own now
    SKIPPED = "skipped"  # something was in the way, and was to be left


def trouble_of(error: RepositoryError) -> Trouble:
    """What it means for an entry that bytes of it were not to be had."""
    if not isinstance(error, TierError) or isinstance(error, InvalidKey) or is_fault_of_object(error):
        return Trouble.DAMAGED
    return Trouble.UNREACHABLE if error.retry is Retry.LATER else Trouble.UNREADABLE


_NOT_THERE: Final = (
    Trouble.DAMAGED,
    Trouble.UNREADABLE,
    Trouble.UNREACHABLE,
    Trouble.HOSTILE_NAME,
    Trouble.NOT_CREATED,
    Trouble.DEVICE,
    Trouble.IN_THE_WAY,
)


class RestoreTrouble(NamedTuple):
    """One entry and what is wrong with it. `path` is relative to the snapshot's root."""

    path: bytes
    trouble: Trouble
    detail: str


@dataclass(frozen=True, kw_only=True)
class RestoreOptions:
    """How one restore is made.

    `globs`: see `path_filter`; none wants all. `tiers`: names of tiers to read from, in this order; none
    means every tier that has the snapshot, nearest first. `sparse`: holes become holes again. `verify`: read
    everything back from the target when it is written. `workers`: 0 for one per core (more for remote tiers).
    """

    globs: tuple[bytes | str, ...] = ()
    conflict: Conflict = Conflict.REFUSE
    tiers: tuple[str, ...] = ()
    sparse: bool = True
    verify: bool = False
    workers: int = 0
    on_progress: Callable[[Progress], None] | None = None
    on_trouble: Callable[[RestoreTrouble], None] | None = None
    is_cancelled: Callable[[], bool] | None = None


@dataclass(slots=True)
class RestoreResult:
    """What was restored. `bytes` are those of files; `bytes_by_tier` those of packs that were read.

    `troubles` are bounded, `trouble_counts` count all. `unmatched`: the globs that nothing in the snapshot
    matches, of a restore to a folder. `unpinned`: tiers that did not hold what was read all the time, and why.
    `reached`: of what is restored to a time, how far it came.
    """

    files: int = 0
    folders: int = 0
    others: int = 0
    bytes: int = 0
    resumed_files: int = 0
    renamed: int = 0
    troubles: list[RestoreTrouble] = field(default_factory=list)
    trouble_counts: dict[Trouble, int] = field(default_factory=dict)
    bytes_by_tier: dict[str, int] = field(default_factory=dict)
    chunks_from_other_tiers: int = 0
    unmatched: tuple[Glob, ...] = ()
    unpinned: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reached: dict[str, object] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every byte that the snapshot has of what was asked for is there."""
        return not any(self.trouble_counts.get(trouble) for trouble in _NOT_THERE)

    @property
    def has_losses(self) -> bool:
        """Whether anything that was asked for is not there as it was kept; what was to be skipped was not asked for."""
        return bool(self.losses)

    @property
    def losses(self) -> set[Trouble]:
        """The kinds of them."""
        told = (Trouble.SKIPPED, Trouble.CHANGED)
        return {trouble for trouble, count in self.trouble_counts.items() if count and trouble not in told}
