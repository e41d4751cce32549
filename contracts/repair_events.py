"""What the executor announces about repairs of an organisation's tiers. Owner: executor.

States: `initializing` (accepted) → `preparing` → `repairing` → `completed` (perhaps degraded) or `failed`. Each
location is told when it was looked at and repaired (`StorageTierRepaired`), so that whoever goes on after a crash goes
on behind it. `REPAIR_STATE_AFTER` says which fact leads to which state.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.event import Event, Value, pinned
from contracts.reading import Growing
from contracts.refusal import Refusal


class RepairState(Growing):
    """Where a repair is."""

    INITIALIZING = "initializing"
    PREPARING = "preparing"
    REPAIRING = "repairing"
    COMPLETED = "completed"
    FAILED = "failed"


REPAIR_ENDED = (RepairState.COMPLETED, RepairState.FAILED)


class DamagedObject(Value, frozen=True, kw_only=True):
    """One damaged or missing object, in the words of `repo check`: `problem` (such as `pack-missing`), and its key.

    `whole_at`: the locations from which it can be made whole, its own too where what else is there suffices; none: no
    location that answers has it any more. `not_read_at`: those of them where it is there, and was not read.
    """

    problem: str
    object_key: str
    whole_at: tuple[str, ...] = ()
    not_read_at: tuple[str, ...] = ()


class RepairedObject(Value, frozen=True, kw_only=True):
    """One object that was made whole. `source`: a location, or how it was made, in the words of `repo repair`."""

    object_key: str
    source: str


class PlaceRepaired(Value, frozen=True, kw_only=True):
    """What was found at a location, and what was made of it. `code`: why it was not looked at, or not all was done.

    `packs`: how many are there, `packs_read`: so many of them were read, and damage within the others shows by nothing.
    `damaged`: how many objects were found damaged or missing; `lost`: of those, what no location that answers has.
    `needed_bytes`: of the packs that have to be brought from elsewhere, as they are stored there. `repaired`: how many
    objects were made whole; `left`: how many are damaged still; `set_aside`: what was put over is kept below the
    location's `quarantine/`; `given_up`: entries of a log of which nobody had a whole copy. `harmed`: snapshots that
    the location alone does not give back whole. `found`, `done`, `unrepaired`: the first hundred of each, or as many as
    there is room for; `unnamed`: so many are counted and not among them. `interrupted`: so many attempts were cut off
    while they made the location whole: what they did is not in `repaired`, `set_aside`, `given_up` and `done`, which
    are of the last attempt, while `damaged` and `found` are as the first one found it.
    """

    location: str
    code: str | None = None
    hint: str = ""
    packs: Annotated[int, Meta(ge=0)] = 0
    packs_read: Annotated[int, Meta(ge=0)] = 0
    damaged: Annotated[int, Meta(ge=0)] = 0
    lost: Annotated[int, Meta(ge=0)] = 0
    needed_bytes: Annotated[int, Meta(ge=0)] = 0
    repaired: Annotated[int, Meta(ge=0)] = 0
    left: Annotated[int, Meta(ge=0)] = 0
    set_aside: Annotated[int, Meta(ge=0)] = 0
    given_up: Annotated[int, Meta(ge=0)] = 0
    harmed: Annotated[int, Meta(ge=0)] = 0
    unnamed: Annotated[int, Meta(ge=0)] = 0
    interrupted: Annotated[int, Meta(ge=0)] = 0
    found: tuple[DamagedObject, ...] = ()
    done: tuple[RepairedObject, ...] = ()
    unrepaired: tuple[DamagedObject, ...] = ()


class RepairFact(Event, frozen=True, kw_only=True):
    """The base of what is said of a repair that was taken on."""

    repair_id: str


@pinned("executor.storage-repair-accepted.v1")
class StorageRepairAccepted(RepairFact, frozen=True, kw_only=True):
    """A repair is in the record and waits for a worker. `locations`: of these alone; none: of all.

    `dry_run`: it looks and tells, and changes nothing. `read_percent`: of the packs, so many are read whole.
    """

    request_id: str
    dry_run: bool
    read_percent: Annotated[int, Meta(ge=0, le=100)] = 0
    locations: tuple[str, ...] = ()


@pinned("executor.storage-repair-refused.v1")
class StorageRepairRefused(Refusal, frozen=True, kw_only=True):
    """A requested repair was refused."""

    repair_id: str


@pinned("executor.storage-repair-preparing.v1")
class StorageRepairPreparing(RepairFact, frozen=True, kw_only=True):
    """A worker has claimed the repair. `fence` grows with each claim."""

    fence: Annotated[int, Meta(ge=1)]
    worker: str


@pinned("executor.storage-repair-requeued.v1")
class StorageRepairRequeued(RepairFact, frozen=True, kw_only=True):
    """It waits for another worker, or for what keeps workers from it; as `BackupRequeued`."""

    fence: int
    code: str | None = None
    hint: str = ""
    next_attempt_at: datetime | None = None


@pinned("executor.storage-tier-repair-begun.v1")
class StorageTierRepairBegun(RepairFact, frozen=True, kw_only=True):
    """A location's damage, as `found_place` says, is about to be made whole: objects there change from now on."""

    found_place: PlaceRepaired


@pinned("executor.storage-tier-repaired.v1")
class StorageTierRepaired(RepairFact, frozen=True, kw_only=True):
    """A location was looked at, and repaired as far as can be."""

    repaired_place: PlaceRepaired


@pinned("executor.storage-repaired.v1")
class StorageRepaired(RepairFact, frozen=True, kw_only=True):
    """A repair has ended. With `dry_run` nothing was changed, and `repaired_places` say what would have to be.

    `degraded`: damage is left, an entry was given up, or some location was left out. `more_places`: so many locations
    there was no room for; what was done there is told by `StorageTierRepaired`.
    """

    dry_run: bool
    degraded: bool
    repaired_places: tuple[PlaceRepaired, ...] = ()
    more_places: Annotated[int, Meta(ge=0)] = 0
    seconds: float = 0.0


@pinned("executor.storage-repair-failed.v1")
class StorageRepairFailed(RepairFact, frozen=True, kw_only=True):
    """A repair has ended before its time; what was told of locations by then is done, of one that was begun a part."""

    code: str
    hint: str = ""


REPAIR_STATE_AFTER: Mapping[type[Event], RepairState] = {
    StorageRepairAccepted: RepairState.INITIALIZING,
    StorageRepairPreparing: RepairState.PREPARING,
    StorageRepairRequeued: RepairState.INITIALIZING,
    StorageTierRepairBegun: RepairState.REPAIRING,
    StorageTierRepaired: RepairState.REPAIRING,
    StorageRepaired: RepairState.COMPLETED,
    StorageRepairFailed: RepairState.FAILED,
}
"""Where each fact leaves a repair; other facts leave it where it is."""
