"""The two phases by which packs leave a tier: `mark`, and what is done about marked ones.

Promise: see `prune.py`. What is marked here was needless on a state that had every snapshot in it; what is deleted was
marked, and the log says so until it is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from repository.errors import AccessDenied, Locked, LogContended, RepositoryError
from repository.format import pack_object_key
from repository.index.pack_catalog import stored_packs
from repository.index.segments import INDEX_PREFIX, segment_object_key
from repository.log.state import REPLACED_MAX, LogState
from repository.opened.open_tier import OpenTier
from repository.opened.present_objects import are_none_gone
from repository.opened.repository import Repository
from repository.opened.second_copies import of_forgotten
from repository.prune.needed_frames import bad_packs
from repository.prune.needs import Needs, Trees
from repository.prune.pinned import Kept, Pinned
from repository.prune.rows import rows_of
from repository.stored.index_segment import Segment, without_packs
from repository.stored.log_entry import Body, Entry, IndexChanged, PacksMarked, PacksSwept, PacksUnmarked, SweepBegun
from repository.stored.manifest_object import manifest_object_key

PACKS_AN_ENTRY: Final = 5000
DELETED_AT_ONCE: Final = 64
"""Packs between two looks at the log: whether another prune has ended the matter meanwhile."""
PARALLEL: Final = 16
SNAPSHOTS_FEW: Final = 1000
"""Snapshots of which a checkpoint is short: one is left by each prune that takes second copies away."""
ENTRIES_AT_ONCE: Final = 1000
UNKNOWN_MANY: Final = 1000
"""Segments of which the state knows nothing, from which on the whole log is asked for them."""
ATTEMPTS_MAX: Final = 20


class Marked(NamedTuple):
    """`going`: what was marked, with its sizes. `kept`: packs that stay, as what else has their chunks is damaged;
    `damaged`: packs that were found so.
    """

    going: dict[bytes, int]
    kept: set[bytes]
    damaged: set[bytes]


class _Moved(Exception):
    """The log has gone on since the trees were looked at."""


def mark(
    repository: Repository,
    tier: OpenTier,
    trees: Trees,
    going: Mapping[bytes, int],
    *,
    moving: Collection[bytes] = (),
    bad: Collection[bytes] = (),
    made: Collection[bytes] = (),
    check_cancelled: Callable[[], None] = lambda: None,
) -> Marked:
    """Name what is to go (packs and their sizes) in the tier's log. What was committed since the trees were looked at
    is looked at first. `moving`: of these, what is needed has to lie elsewhere by now.

    Where a chunk lies in a pack that is to go and in one that stays, it is read from that one first, unless this prune
    has `made` it; `bad`: packs on which nothing is to be counted. Where no place of a chunk is whole, none goes.
    Raises `LogContended`, `Damaged` and the store's errors.
    """
    bad, proven, kept, damaged = set(bad), dict[bytes, set[bytes]](), set[bytes](), set[bytes]()
    for _ in range(ATTEMPTS_MAX):
        state = tier.refresh()
        trees.look_at_new()
        needs = Needs(repository, tier, moving, bad)
        needs.add(trees.live)
        needs.add_parts()
        chosen = {each: size for each, size in going.items() if not needs.is_needed(each) and each not in kept}
        relied = {
            pack: left
            for pack, chunks in needs.relied_on(chosen).items()
            if pack not in made and (left := chunks - proven.get(pack, set()))
        }
        found = bad_packs(tier.store, repository.keys, relied, check_cancelled)
        for pack in relied.keys() - found:
            proven.setdefault(pack, set()).update(relied[pack])
        if found:
            if found <= bad:  # there is no other place: what lies in the packs that were to go is all that is left
                lost = set[bytes]().union(*(relied[pack] for pack in found))
                kept |= {pack for chunk_id, pack in rows_of(tier.index.segments(), chosen) if chunk_id in lost}
                unmark(repository, tier, kept)
            bad |= found
            damaged |= found
            continue
        try:
            for batch in _batches(sorted(chosen), PACKS_AN_ENTRY):
                _append_mark(repository, tier, batch, needs, state)
        except _Moved:
            continue
        return Marked(chosen, kept, damaged)
    raise LogContended("other writers commit again and again while a prune looks", tier=tier.name)


def unmark(repository: Repository, tier: OpenTier, packs: Collection[bytes] | None = None) -> bool:
    """Take the marks of these (None: of all) back, where nothing was deleted yet; whether there were any."""

    def decide(state: LogState) -> Body | None:
        marked = state.marked_packs - state.swept_packs
        named = tuple(sorted(each.hex() for each in (marked if packs is None else marked.intersection(packs))))
        return PacksUnmarked(time_ns=repository.clock.now_ns(), packs=named) if named else None

    return tier.log.append(decide) is not None


def _append_mark(repository: Repository, tier: OpenTier, batch: Sequence[bytes], needs: Needs, seen: LogState) -> None:
    def decide(now: LogState) -> Body | None:
        # Another prune may keep the other place of a chunk that lies in two; it may be over by now.
        is_left = not now.marked_packs & needs.used.keys() and are_none_gone(now, needs.used, seen.head.number)
        if now.snapshot_count != seen.snapshot_count or not is_left:
            raise _Moved
        new = tuple(each.hex() for each in batch if each not in now.marked_packs)
        return PacksMarked(time_ns=repository.clock.now_ns(), packs=new) if new else None

    tier.log.append(decide)


class Sweep:
    """Deletes what one tier's log calls marked. `kept`: what could not be deleted, and `error` says why; `held_back`:
    what was left since pins, as `pinned` has them, need it; `again`: what was deleted though somebody had brought it
    again by then, whom a catch-up alone helps.
    """

    def __init__(self, repository: Repository, tier: OpenTier, check_cancelled: Callable[[], None]) -> None:
        self._repository = repository
        self._tier = tier
        self._check_cancelled = check_cancelled
        self.deleted = 0
        self.deleted_bytes = 0
        self.kept: set[bytes] = set()
        self.pinned = Kept()
        self.held_back: set[bytes] = set()
        self.again: set[bytes] = set()
        self.error: RepositoryError | None = None

    def delete(self, going: Mapping[bytes, int], kept: Collection[bytes] = ()) -> None:
        """Delete these packs, and what an earlier prune left, but for the `kept`; they leave the index and the log."""
        tier = self._tier
        self._append(sorted(going), lambda state: state.marked_packs - state.swept_packs, SweepBegun)
        left = tier.log.state.swept_packs
        if not left:
            return
        # Behind the entry: whoever pins from here on reads it, and counts on nothing of what it names.
        self.pinned = Pinned(self._repository, self._check_cancelled).on(tier)
        self.held_back = self.pinned.of(left)
        left = left - self.held_back - set(kept)
        sizes = dict(going)
        if not left <= sizes.keys():
            sizes |= {pack.id: pack.size for pack in stored_packs(tier.store)}
        gone: set[bytes] = set()
        for batch in _batches(sorted(left), DELETED_AT_ONCE):
            self._check_cancelled()
            # Another prune may have ended it, and somebody may have brought a pack of that name again.
            current = tier.refresh().swept_packs
            gone |= self._delete([each for each in batch if each in current], sizes)
        for folder in sorted({pack_object_key(each).rpartition("/")[0] for each in gone}):
            tier.store.sweep(folder)  # of what was forgotten nothing stays in what a dead writer left
        if gone:
            self._leave_index(gone)
            # A store may take long over a delete: whoever ended the matter may have brought a pack again before it.
            ended = (gone - tier.refresh().swept_packs) & tier.index.pack_ids()
            self.again = {each for each in ended if tier.store.head(pack_object_key(each)) is None}
            self._append(sorted(gone), lambda state: state.swept_packs, PacksSwept)

    def tidy(self, forgotten: Collection[str]) -> None:
        """Delete what no entry names any more: replaced segments and the second copies of these forgotten snapshots'
        entries, which say whose the packs are and are of no use once nothing of theirs is there.
        """
        tier, state = self._tier, self._tier.log.state
        keys = [segment_object_key(each) for each in sorted(self._replaced())]
        if forgotten and state.forgotten:
            gone = [each for each in of_forgotten(tier) if each in forgotten]
            with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune-log") as pool:
                have_entries = list(pool.map(self._has_entry, gone))
            keys += [manifest_object_key(each) for each, has in zip(gone, have_entries, strict=True) if has]
            if gone and len(state.snapshots) <= SNAPSHOTS_FEW:
                # Then their entries need no copy: that no snapshot which should exist was in them is known from it.
                with suppress(LogContended):
                    tier.log.checkpoint(is_due=True)
        for key in keys:
            self._check_cancelled()
            with suppress(Locked, AccessDenied):
                tier.store.delete(key)

    def _has_entry(self, identity: str) -> bool:
        """Whether the entry that the second copy is of lies there whole: if not, a repair takes the copy."""
        with suppress(RepositoryError):
            copy = self._tier.log.second_copy(identity)
            found = self._tier.log.entry(copy.entry.number)
            return isinstance(found, Entry)
        return True

    def _replaced(self) -> set[str]:
        """The segments that lie there and that others have taken the place of."""
        tier, state = self._tier, self._tier.log.state
        if not state.replaced_segments:
            return set()
        there = {info.key.removeprefix(INDEX_PREFIX) for info in tier.store.list(INDEX_PREFIX)} - state.segments.keys()
        found = there & state.replaced_segments.keys()
        unknown = there - found
        # A writer puts its segments before an entry names them. More of them than writers leave are old ones that the
        # state does not remember: then the log says which.
        if len(state.replaced_segments) >= REPLACED_MAX and len(unknown) >= UNKNOWN_MANY:
            for entry in self._entries(state.head.number):
                if isinstance(entry.body, IndexChanged):
                    found |= unknown.intersection(entry.body.replaced)
        return found

    def _entries(self, last: int) -> Iterator[Entry]:
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune-log") as pool:
            for start in range(1, last + 1, ENTRIES_AT_ONCE):
                self._check_cancelled()
                found = pool.map(self._tier.log.entry, range(start, min(start + ENTRIES_AT_ONCE, last + 1)))
                yield from (each for each in found if isinstance(each, Entry))

    def _delete(self, packs: Sequence[bytes], sizes: Mapping[bytes, int]) -> set[bytes]:
        store, gone = self._tier.store, set[bytes]()

        def delete(pack_id: bytes) -> RepositoryError | None:
            try:
                store.delete(pack_object_key(pack_id))
            except (Locked, AccessDenied) as error:
                return error
            return None

        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="prune") as pool:
            for pack_id, error in zip(packs, pool.map(delete, packs), strict=True):
                if error is not None:
                    self.kept.add(pack_id)
                    self.error = error
                    continue
                gone.add(pack_id)
                self.deleted += 1
                self.deleted_bytes += sizes.get(pack_id, 0)
        return gone

    def _leave_index(self, deleted: set[bytes]) -> None:
        """Take the rows of these packs away: of those alone that nobody has brought again since."""
        tier = self._tier
        for _ in range(ATTEMPTS_MAX):
            gone = deleted & tier.refresh().swept_packs
            touched = {name: each for name, each in tier.named_segments().items() if not each.packs.isdisjoint(gone)}
            if not touched:
                return
            left = [Segment(without_packs(each, gone)) for each in touched.values() if not each.packs.issubset(gone)]
            is_still_so = partial(_are_swept, gone)
            if tier.change_index(self._repository.seal_segments(left), touched, "pruned", only_if=is_still_so):
                return
        raise LogContended("other writers change the index again and again", tier=tier.name)

    def _append(
        self,
        packs: Sequence[bytes],
        among: Callable[[LogState], set[bytes]],
        kind: type[SweepBegun] | type[PacksSwept],
    ) -> None:
        """An entry of this kind for those of the packs that are `among` these when it is decided."""
        for batch in _batches(packs, PACKS_AN_ENTRY):

            def decide(state: LogState, batch: Sequence[bytes] = batch) -> Body | None:
                there = among(state)
                named = tuple(each.hex() for each in batch if each in there)
                return kind(time_ns=self._repository.clock.now_ns(), packs=named) if named else None

            self._tier.log.append(decide)


def _are_swept(packs: set[bytes], state: LogState) -> bool:
    return packs <= state.swept_packs


def _batches(packs: Sequence[bytes], count: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(packs), count):
        yield packs[start : start + count]
