"""Second copies of snapshots' log entries of which the log knows nothing, and what became of their entries.

Promise: each is signed, and of this repository. What is lost, as far as one can know, is told apart from what a writer
left that died before its entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import Enum, auto

from repository.errors import AccessDenied, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.log.commit_log import LogFault, LogState, SecondCopy
from repository.log.state import FORGOTTEN_MAX
from repository.opened.open_tier import OpenTier
from repository.stored.log_entry import Entry, SnapshotCommitted, entry_object_key
from repository.stored.manifest_object import MANIFEST_PREFIX, manifest_id, manifest_object_key
from repository.stored.object_reading import length_max_of


class Fate(Enum):
    """What became of the entry that a second copy is of."""

    FAULTY = auto()
    """It is missing or damaged; the copy can take its place."""
    BRIDGED = auto()
    """It is lost, and a bridge stands in its place."""
    BEYOND = auto()
    """The log ends before it: the end was cut off, or the writer died just now."""
    FORKED = auto()
    """The log goes on otherwise from before it, or there: the end was cut off, and somebody wrote on."""
    NEVER_MADE = auto()
    """Another entry has its number and follows the same one: the writer died, as far as one can know."""


def unreadable(tier: OpenTier) -> list[str]:
    """Object keys of what lies under ids of snapshots that the log does not have, and is no entry.

    Raises the store's errors.
    """
    known = tier.log.state.entry_of
    ids = [manifest_id(info.key) for info in tier.store.list(MANIFEST_PREFIX)]
    strange = (each for each in ids if each is not None and each not in known)
    return [manifest_object_key(each) for each in strange if _whole_copy(tier, each) is None]


def unclaimed(tier: OpenTier, state: LogState | None = None) -> list[SecondCopy]:
    """Whole second copies of this log of which the log knows nothing, in the order of their numbers.

    `state`: of its entries alone, where what a checkpoint has is not to count.

    Raises the store's errors.
    """
    state = tier.log.state if state is None else state
    found: list[SecondCopy] = []
    for info in tier.store.list(MANIFEST_PREFIX):
        identity = manifest_id(info.key)
        if identity is None or identity in state.entry_of or identity in state.forgotten:
            continue
        copy = _whole_copy(tier, identity)
        if copy is None or (copy.entry.signer < state.root and not _is_named(tier, copy)):
            continue
        is_done = copy.snapshot.manifest.run_token in state.by_token
        if is_done and fate_of(copy, state, tier) is Fate.NEVER_MADE:
            continue  # its run came to a snapshot in another try
        # What another writer committed since the log was read is no loss, nor what was forgotten too long ago for the
        # state to remember.
        if not _is_made(tier, copy):
            found.append(copy)
    return sorted(found, key=lambda copy: (copy.entry.number, copy.snapshot.id))


def of_forgotten(tier: OpenTier) -> Iterator[str]:
    """The forgotten snapshots (ids) of which the second copy is there. Raises the store's errors."""
    state = tier.log.state
    is_full = len(state.forgotten) >= FORGOTTEN_MAX
    for info in tier.store.list(MANIFEST_PREFIX):
        identity = manifest_id(info.key)
        if identity is None or identity in state.entry_of:
            continue
        if identity in state.forgotten:
            yield identity
        elif is_full:
            # What was committed, not since the log was read, and is not live, was forgotten too long ago to be
            # remembered.
            copy = _whole_copy(tier, identity)
            if copy is not None and copy.entry.number <= state.head.number and _is_made(tier, copy):
                yield identity


def _whole_copy(tier: OpenTier, identity: str) -> SecondCopy | None:
    """What lies under a snapshot's id, or newest beneath it where somebody put other bytes on top."""
    found = None
    try:
        return tier.log.second_copy(identity)
    except AccessDenied:
        return None
    except RepositoryError as error:
        if not is_fault_of_object(error):
            raise
    key = manifest_object_key(identity)
    for body in tier.store.versions(key, length_max=length_max_of(key)):
        with suppress(RepositoryError):
            found = tier.log.as_second_copy(body, identity)
    return found


def _is_named(tier: OpenTier, copy: SecondCopy) -> bool:
    """Whether the entry behind it names it: whoever has a root that was replaced can make any other."""
    after = tier.log.entry(copy.entry.number + 1)
    return isinstance(after, Entry) and after.previous == copy.entry.digest


def _is_made(tier: OpenTier, copy: SecondCopy) -> bool:
    found = tier.log.entry(copy.entry.number)
    return not isinstance(found, LogFault) and found.digest == copy.entry.digest


def fate_of(copy: SecondCopy, state: LogState, tier: OpenTier, others: Iterable[SecondCopy] = ()) -> Fate:
    """What became of the entry, by the whole log and by what the store keeps beneath it. Raises the store's errors.

    `others`: copies of entries that the log has not. What one of them follows was made, whatever the log has now.
    """
    number = copy.entry.number
    if number > state.head.number:
        return Fate.BEYOND
    if any(fault.number == number for fault in state.faults):
        return Fate.FAULTY
    before = state.digest_of(number - 1)
    if before and before != copy.entry.previous and number - 1 not in state.bridged:
        return Fate.FORKED
    if number in state.bridged:
        return Fate.BRIDGED
    if any(each.entry.previous == copy.entry.digest for each in others):
        return Fate.FORKED
    key = entry_object_key(number)
    beneath = tier.store.versions(key, length_max=length_max_of(key))
    return Fate.FORKED if any(body == copy.body for body in beneath) else Fate.NEVER_MADE


def readable_copies(tier: OpenTier) -> list[SecondCopy]:
    """Copies of lost entries, to read their snapshots by: what they brought to the index is read, too.

    A tier that fails meanwhile has none.
    """
    try:
        state = tier.log.state
        found = [copy for copy in unclaimed(tier) if fate_of(copy, state, tier) is not Fate.NEVER_MADE]
    except RepositoryError:
        return []
    bodies = (copy.entry.body for copy in found)
    tier.read_also(name for body in bodies if isinstance(body, SnapshotCommitted) for name in body.segments)
    return found
