"""Which packs of a tier are needed, by what, and which are not any more.

Promise: a pack counts as needed where a chunk of a live snapshot, of this tier or of another one, is found in it, or a
part of a snapshot that is being made lies in it. A tree that cannot be read whole ends the work: what it needs is not
known, and nothing is called needless then. A pack that no snapshot ever needed, as far as is known, is neither: a
writer may count on it. Trees are looked through once for all tiers. Memory: about 100 bytes a chunk that is in use.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Final

from repository.errors import Damaged, ObjectMissing, RepositoryError, TierError, Truncated, UnsupportedFormat
from repository.format import PACK_HEADER_LENGTH, decode_pack_header, pack_object_key
from repository.index.index import Location
from repository.index.pack_catalog import each_in_parallel, is_fault_of_object
from repository.index.several_places import choose, in_several_rows
from repository.log.state import holding, joint_holds
from repository.opened.erased import Erased
from repository.opened.key_change import destroyed_keys
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.opened.second_copies import of_forgotten
from repository.prune.rows import rows_of
from repository.stored.object_reading import read_object
from repository.stored.part import PENDING_PREFIX, PartMade, decode_left
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor

PARALLEL: Final = 16
LOOKS_MAX: Final = 3
"""Looks at a tree that cannot be read: others may have forgotten it and taken it apart meanwhile, tier by tier."""


class Trees:
    """What the snapshots of a repository reference. Not thread-safe.

    `live`: ids of chunks of live snapshots; `past`: of forgotten ones, that no live one has, as far as their second
    copies are there to say it, and `past_snapshots` the ids of those that were looked at; `locked`: of live ones that
    some tier's log says are locked by now, or held; `held`: of those that are held where a tier locks, and may be under
    legal hold there.
    """

    def __init__(self, repository: Repository, check_cancelled: Callable[[], None]) -> None:
        self._repository = repository
        self._check_cancelled = check_cancelled
        self._load = ChunkReader(nearest_first(repository.readable_tiers()), repository.keys).chunk
        self._visitor = TreeVisitor(self._load)
        self._erased = Erased(repository, self._load)
        self._looked_at: set[str] = set()
        self.live: set[bytes] = set()
        self.past: set[bytes] = set()
        self.past_snapshots: set[str] = set()
        self.locked: set[bytes] = set()
        self.held: set[bytes] = set()

    def look_at_new(self) -> set[bytes]:
        """Take in what was committed since the last look; returns what came with it. Raises `Damaged`."""
        held, locked = _held_snapshots(self._repository), _locked_snapshots(self._repository)
        snapshots = self._repository.snapshots()
        # A chunk is met once: of what is held or locked it is to be known.
        new = self._look_at([each for each in snapshots if each.id in held])
        self.held |= new
        new |= self._look_at([each for each in snapshots if each.id in locked])
        self.locked |= new
        new |= self._look_at([each for each in snapshots if each.id not in locked])
        return new

    def _look_at(self, snapshots: Iterable[Snapshot]) -> set[bytes]:
        new = set[bytes]()
        for snapshot in snapshots:
            if snapshot.id in self._looked_at:
                continue
            self._looked_at.add(snapshot.id)
            if self._erased.has(snapshot):
                continue  # nobody reads any of it again
            for _ in range(LOOKS_MAX):
                error = self._walk(snapshot, new)
                if error is None or not self._is_still_there(snapshot):
                    break
            else:
                message = "tree of a snapshot cannot be read: what it needs is not known"
                raise Damaged(message, snapshot=snapshot.id, reason=str(error))
        self.live |= new
        self.past -= new
        return new

    def _walk(self, snapshot: Snapshot, new: set[bytes]) -> RepositoryError | None:
        """Add what came with a snapshot; what of its tree cannot be read. Raises what is no fault of an object."""
        for chunk_id in self._visitor.chunks(snapshot.manifest.root):
            self._check_cancelled()
            if chunk_id not in self.live:
                new.add(chunk_id)
        errors = [fault.error for fault in self._visitor.faults]
        if not errors:
            return None
        if isinstance(errors[0], TierError) and not is_fault_of_object(errors[0]):
            raise errors[0]  # whether it is damaged nobody knows
        self._visitor = TreeVisitor(self._load)  # what was met counts as seen: another look begins from its root
        return errors[0]

    def _is_still_there(self, snapshot: Snapshot) -> bool:
        """Whether no prune beside this one may have taken it apart, after others forgot it. Raises the stores'."""
        for tier in self._repository.readable_tiers():
            tier.refresh()
        return any(each.id == snapshot.id for each in self._repository.snapshots())

    def look_at_past(self, tiers: Iterable[OpenTier]) -> None:
        """Take in what forgotten snapshots referenced, after all live ones."""
        # What only forgotten ones had a snapshot that is committed from now on may have: then it is looked at for that.
        visitor = self._visitor.apart()
        for tier in tiers:
            for identity in [each for each in of_forgotten(tier) if each not in self.past_snapshots]:
                try:
                    snapshot = tier.log.second_copy(identity).snapshot
                    for chunk_id in visitor.chunks(snapshot.manifest.root):
                        self._check_cancelled()
                        if chunk_id not in self.live:
                            self.past.add(chunk_id)
                    errors = [fault.error for fault in visitor.faults]
                except RepositoryError as error:
                    errors = [error]
                # What is gone already is not to be freed; what a store did not give may be another time.
                # What was live a moment ago is in `live`, and goes with the next prune.
                is_known = all(not isinstance(each, TierError) or is_fault_of_object(each) for each in errors)
                if is_known and identity not in self._looked_at:
                    self.past_snapshots.add(identity)
                visitor.faults.clear()


class Needs:
    """What of one tier's packs is needed.

    `used`: by pack, the bytes (uncompressed) of it that live snapshots need; `moving`: packs that are to go if what is
    needed of them lies elsewhere as well; `parts`: packs of parts that wait to be joined. `bad`: packs that are not
    there, or not whole: where a chunk lies in another one as well, that one is needed.
    """

    def __init__(
        self,
        repository: Repository,
        tier: OpenTier,
        moving: Collection[bytes] = (),
        bad: Collection[bytes] = (),
    ) -> None:
        self._repository = repository
        self._tier = tier
        self._moving = moving
        self._bad = bad
        self._chosen: dict[bytes, Location] = {}
        self.used: dict[bytes, int] = {}
        self.parts: set[bytes] = set()

    def is_needed(self, pack_id: bytes) -> bool:
        """Whether something live lies in the pack, and nowhere else on the tier."""
        return pack_id in self.used or pack_id in self.parts

    def add(self, chunks: Iterable[bytes]) -> None:
        """Take in chunks of live snapshots. One that the tier does not have keeps no pack here: the tier owes it.

        One that lies in several packs keeps one of them: such as is needed anyway, or is locked longest.
        """
        index = self._tier.index
        several = in_several_rows(index.segments())
        places: dict[bytes, list[Location]] = {}
        for chunk_id in chunks:
            if chunk_id in several:
                places[chunk_id] = self._places(chunk_id)
            elif (location := index.lookup(chunk_id)) is not None:
                self._use(location)
        found = {chunk_id: each for chunk_id, each in places.items() if each}
        chosen = choose(found, {*self.used, *self.parts}, self._seconds_locked)
        self._chosen |= chosen
        for location in chosen.values():
            self._use(location)

    def relied_on(self, going: Collection[bytes]) -> dict[bytes, set[bytes]]:
        """Which chunks, by pack, lie in these packs that are to go as well, so that all depends on what is left."""
        relied: dict[bytes, set[bytes]] = {}
        for chunk_id, _ in rows_of(self._tier.index.segments(), going) if self._chosen else ():
            location = self._chosen.get(chunk_id)
            if location is not None and location.pack_id not in going:
                relied.setdefault(location.pack_id, set()).add(chunk_id)
        return relied

    def _use(self, location: Location) -> None:
        self.used[location.pack_id] = self.used.get(location.pack_id, 0) + location.chunk_length

    def _places(self, chunk_id: bytes) -> list[Location]:
        """Where the chunk lies and stays; where it stays nowhere, where it is to be moved from."""
        out = self._tier.index.excluded_packs()
        found = [each for each in self._tier.index.lookup_all(chunk_id) if each.pack_id not in out]
        found = [each for each in found if each.pack_id not in self._bad] or found[:1]
        return [each for each in found if each.pack_id not in self._moving] or found[:1]

    def _seconds_locked(self, packs: Collection[bytes]) -> dict[bytes, float]:
        return {each: until.timestamp() for each, until in locked_packs(self._tier, packs).items()}

    def add_wherever(self, chunks: Iterable[bytes]) -> None:
        """As `add`, in every place that has them: of what is under legal hold each is kept by the store."""
        for chunk_id in chunks:
            for location in self._tier.index.lookup_all(chunk_id):
                self.used[location.pack_id] = self.used.get(location.pack_id, 0) + location.chunk_length

    def elsewhere(self, chunk_id: bytes) -> Location | None:
        """Where the chunk lies beside the packs that are to go, are marked or are bad."""
        index = self._tier.index
        outs = (self._moving, self._bad, index.excluded_packs())
        found = index.lookup_all(chunk_id)
        return next((each for each in found if not any(each.pack_id in out for out in outs)), None)

    def add_parts(self) -> None:
        """Take in the parts that wait to be joined. Raises `Damaged` and the store's errors."""
        for info in self._tier.store.list(PENDING_PREFIX):
            _, run_id, place = (*info.key.split("/"), "", "")[:3]
            if not place.isdigit():
                continue
            try:
                body = read_object(self._tier.store, info.key)
            except ObjectMissing:
                # It was joined meanwhile, and what is joined the log names: the snapshot is looked at before any mark.
                continue
            # Whoever made it: what it names is kept, and nothing is taken from it.
            part = decode_left(body, PartMade, bytes.fromhex(run_id), place, self._repository.keys, by_any_root=True)
            self.parts.update(part.pack_ids())


def locked_packs(tier: OpenTier, packs: Iterable[bytes]) -> dict[bytes, datetime]:
    """Which packs a lock keeps now, by the store's clock, and until when."""
    store, ordered = tier.store, sorted(packs)
    if not ordered or store.capabilities.locks is False:
        return {}
    now = store.now()
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune") as pool:
        found = pool.map(lambda each: store.head(pack_object_key(each)), ordered)
    dates = {each: info.lock_until for each, info in zip(ordered, found, strict=True) if info is not None}
    return {each: until for each, until in dates.items() if until is not None and until > now}


def _locked_snapshots(repository: Repository) -> set[str]:
    """Ids of the snapshots that a log calls locked, and whose date lies ahead by the tier's clock."""
    found = set[str]()
    for tier in repository.readable_tiers():
        if tier.log.state.locked_until and tier.store.capabilities.locks is not False:
            now = tier.store.now().timestamp()
            found |= {each for each, until in tier.log.state.locked_until.items() if until > now}
    return found


def _held_snapshots(repository: Repository) -> set[str]:
    """Ids of the snapshots that a hold keeps, where a tier may have set it on its store."""
    if all(tier.store.capabilities.locks is False for tier in repository.readable_tiers()):
        return set()
    holds = joint_holds(tier.log.state for tier in repository.readable_tiers())
    return {each.id for each in repository.snapshots() if holding(each.id, holds)} if holds else set()


def of_destroyed_keys(repository: Repository, tier: OpenTier, packs: Collection[bytes]) -> set[bytes]:
    """Which of these packs are under keys that a log calls destroyed: no writer counts on them any more.

    Their headers are read, where there are such keys. Raises the store's errors.
    """
    destroyed = {bytes.fromhex(each) for each in destroyed_keys(repository)}
    if not destroyed:
        return set()

    def is_under_one(pack_id: bytes) -> tuple[bytes, bool]:
        with suppress(Damaged, ObjectMissing, Truncated, UnsupportedFormat):
            header = tier.store.get_range(pack_object_key(pack_id), 0, PACK_HEADER_LENGTH)
            return pack_id, decode_pack_header(header).key_id in destroyed
        return pack_id, False

    return {pack_id for pack_id, is_one in each_in_parallel(is_under_one, sorted(packs), PARALLEL) if is_one}
