"""The second copies of snapshots' log entries: checked, made again, and what is committed again from them.

Promise: a snapshot of which the log lost the entry, or which the log's end was cut off before, and of which the copy
lies on the tier, is found and told apart from one whose writer died; it comes back where all that it references is
there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from repository.errors import AccessDenied, AlreadyExists, Damaged, RepositoryError
from repository.index.pack_catalog import each_in_parallel, is_fault_of_object
from repository.log.state import Head, LogState, named_by_the_next
from repository.log.tail import read_tail
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.pending import PENDING_PREFIX
from repository.opened.second_copies import Fate, fate_of, unclaimed, unreadable
from repository.stored.log_entry import Entry, entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.stored.object_reading import read_object
from repository.stored.snapshot import Snapshot
from repository.stored.tree_visit import TreeVisitor
from repository.upkeep.catch_up import packs_of
from repository.upkeep.check_report import Finding, Problem, unknown

if TYPE_CHECKING:
    from repository.opened.repository import Repository

READS_AT_A_TIME: Final = 8


def manifest_findings(tier: OpenTier) -> Iterator[Finding]:
    """Second copies that are not there as the log has them. Raises the store's errors."""
    state = tier.log.state

    def look(snapshot: Snapshot) -> tuple[str, RepositoryError | None]:
        key = manifest_object_key(snapshot.id)
        number = state.entry_of[snapshot.id]
        try:
            copy = tier.log.second_copy(snapshot.id)
            digest = b"" if number in state.bridged else state.digest_of(number)
            if copy.entry.number != number or digest not in (b"", copy.entry.digest):
                raise Damaged("manifest is not the one that the log has", tier=tier.name, object_key=key)
        except RepositoryError as error:
            if not is_fault_of_object(error) and not isinstance(error, AccessDenied):
                raise
            return key, error
        return key, None

    for key, error in each_in_parallel(look, list(tier.snapshots().values()), READS_AT_A_TIME):
        if isinstance(error, AccessDenied):  # to this one: it says nothing of the others
            yield unknown(tier.name, key, error)
        elif error is not None:
            yield Finding(tier.name, Problem.MANIFEST, key, f"{error.code}: {error}", (tier.name,))


def unclaimed_findings(tier: OpenTier, state: LogState) -> Iterator[Finding]:
    """Snapshots that are whole and that the log does not have. `state`: of the whole log."""
    copies = unclaimed(tier)
    is_at_work = bool(copies) and next(iter(tier.store.list(PENDING_PREFIX)), None) is not None
    for copy in copies:
        fate, number = fate_of(copy, state, tier, copies), copy.entry.number
        detail = f"the log has no entry of this snapshot, which belongs at {number}: "
        problem = Problem.UNCOMMITTED
        match fate:
            case Fate.FAULTY:
                continue  # told with the entry
            case Fate.BRIDGED:
                detail += "the entry was given up"
            case Fate.FORKED:
                detail += "the log's end was cut off, and somebody wrote on"
            case Fate.BEYOND if is_at_work and copy.entry.previous == state.head.digest:
                problem, detail = Problem.ABANDONED, detail + "its writer is about to make it, or died"
            case Fate.BEYOND:
                detail += "the log's end was cut off, or the writer died"
            case Fate.NEVER_MADE:
                problem = Problem.ABANDONED
                detail += "another entry is there, so the writer died, unless the log was cut off there"
        yield Finding(tier.name, problem, manifest_object_key(copy.snapshot.id), detail, (tier.name,))
    for key in unreadable(tier):
        try:
            read_object(tier.store, key)
        except AccessDenied as error:
            yield unknown(tier.name, key, error)
            continue
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
        detail = "it is no log entry, and no log has the snapshot: junk, or the damaged copy of one that was cut off"
        yield Finding(tier.name, Problem.STRANGE, key, detail)


def put_end_back(tier: OpenTier) -> list[str]:
    """Create the entries behind the log's end of which the copies are here; returns their object keys.

    A writer that is about to make one finds its own bytes there.
    """
    state, made = tier.log.state, list[str]()
    found = unclaimed(tier)
    copies = [copy for copy in found if copy.entry.number > state.head.number]
    following = [copy.entry.previous for copy in copies if copy.entry.number == state.head.number + 1]
    here = (copy for copy in found if copy.entry.number <= state.head.number)
    if (following and state.head.digest not in following) or any(
        fate_of(copy, state, tier, found) is Fate.FORKED for copy in here
    ):
        # Somebody wrote on where the end had been cut off: they follow what is not there any more, and no entry behind
        # them would. Their snapshots are committed anew.
        return []
    numbers = [copy.entry.number for copy in copies]
    for copy in copies:
        # Of two with one number at most one was an entry: both are committed anew.
        is_own = copy.entry.place.tier_id == state.tier_id and numbers.count(copy.entry.number) == 1
        is_next = copy.entry.number > state.head.number + 1 or copy.entry.previous == state.head.digest
        if is_own and is_next:
            key = entry_object_key(copy.entry.number)
            try:
                tier.store.put(
                    key, copy.body, sha256=copy.entry.digest, if_absent=True, lock_until=_lock_of(tier, copy.entry)
                )
            except AlreadyExists:
                break  # a writer was faster: what is left is judged by what the log is by then
            made.append(key)
    return made


def put_seen_end_back(repository: Repository, tier: OpenTier) -> list[str]:
    """Create the entries behind the end of a log that was seen further, where copies lead to the very head that was;
    returns their object keys.

    Unasked, since the history is the one that was seen, and no other. Of what lies between them and the log's end some
    may be lost: that is damage like any other, and the tier not REPLAYED any more.
    """
    heads = repository.heads_beyond(tier)
    lost = _copies_back_from(tier, heads) if heads else {}
    if not heads or max(heads).number not in lost:
        return []
    made = list[str]()
    for number, (entry, body) in sorted(lost.items()):
        key = entry_object_key(number)
        tier.store.put(key, body, sha256=entry.digest, if_absent=True, lock_until=_lock_of(tier, entry))
        made.append(key)
    tier.set_state(TierState.READY, None)
    tier.load()
    repository.detect_replays()
    return made


def _copies_back_from(tier: OpenTier, heads: Sequence[Head]) -> dict[int, tuple[Entry, bytes]]:
    """Entries behind the log's end by their numbers, each one named by the next, or by one of these heads, or alone.

    They come from the second copies of snapshots and from the tail of the last checkpoint.
    """
    state, wanted = tier.log.state, {head.number: head.digest for head in heads}
    found: dict[int, dict[bytes, tuple[Entry, bytes]]] = {}
    tail: list[tuple[int | None, bytes]] = list(read_tail(tier.store).items())
    for number, body in [*tail, *((None, copy.body) for copy in unclaimed(tier))]:
        with suppress(RepositoryError):
            entry = tier.log.decoded(body, number)
            if state.head.number < entry.number <= max(wanted) and entry.place.tier_id == state.tier_id:
                found.setdefault(entry.number, {})[entry.digest] = entry, body
    chosen: dict[int, tuple[Entry, bytes]] = {}
    for number in sorted(found, reverse=True):
        after = chosen.get(number + 1)
        digest = wanted.get(number, after[0].previous if after is not None else b"")
        fitting = [each for each in found[number].values() if digest in (b"", named_by_the_next(each[0]))]
        if number == state.head.number + 1:
            fitting = [each for each in fitting if each[0].previous == state.head.digest]
        if len(fitting) == 1:  # of two with one number at most one was an entry
            chosen[number] = fitting[0]
    return chosen


def _lock_of(tier: OpenTier, entry: Entry) -> datetime | None:
    """Until when the entry was to be locked, where that is still to come."""
    seconds = getattr(entry.body, "locked_until", None)
    until = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    return until if until is not None and until > tier.store.now() else None


def commit_again(repository: Repository, tier: OpenTier, whole: LogState) -> tuple[list[Snapshot], list[Snapshot]]:
    """Commit what was lost; returns what is committed now, and what cannot be since chunks are missing.

    `whole`: the state of the whole log. What a dead writer left is not touched. Raises this tier's errors.
    """
    done: list[Snapshot] = []
    incomplete: list[Snapshot] = []
    reader = ChunkReader(nearest_first([tier, *repository.sources_for(tier)]), repository.keys)
    state = tier.log.state
    wanted: list[tuple[Snapshot, datetime | None]] = []
    for identity, snapshot in state.snapshots.items():
        if identity not in whole.snapshots and state.entry_of[identity] <= whole.head.number:
            seconds = state.locked_until.get(identity)
            until = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
            wanted.append((snapshot, until if until is not None and until > tier.store.now() else None))
    found = unclaimed(tier)
    lost = (copy for copy in found if fate_of(copy, whole, tier, found) is not Fate.NEVER_MADE)
    wanted.extend((copy.snapshot, _lock_of(tier, copy.entry)) for copy in lost)
    for snapshot, until in wanted:
        packs = packs_of(snapshot, tier, TreeVisitor(reader.chunk))
        if packs is None:
            incomplete.append(snapshot)
            continue
        tier.commit_snapshot(snapshot.body, packs=packs, lock_until=until, again=True)
        done.append(snapshot)
    return done, incomplete
