"""What the entries of one log add up to.

Promise: `LogState` is a pure function of the entries in their order. A faulty entry (missing, damaged, or of
another history) is named and left out; the ones behind it still count, since each is signed for its place,
but nothing is appended to such a log before it is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from repository.errors import Damaged, RepositoryError
from repository.stored.log_entry import (
    Begun,
    Bridged,
    Entry,
    HistoryAccepted,
    IndexChanged,
    KeysChanged,
    PacksMarked,
    PacksUnmarked,
    SnapshotCommitted,
)
from repository.stored.snapshot import Snapshot, decode_manifest, snapshot_id

TIER_ID_LENGTH = 16


class Head(NamedTuple):
    """The last entry of a log: its number (0: none) and the SHA-256 of its bytes."""

    number: int
    digest: bytes


class LogFault(NamedTuple):
    """An entry that cannot be used, and why."""

    number: int
    error: RepositoryError


@dataclass
class LogState:
    """The state after all entries that were read.

    `genesis`: digest that entry 1 names as its previous one (of the config's bytes). `digests[n]`: what entry
    n + 1 names as its previous one, so the digest of entry n (`digests[0]` is the genesis); empty where entry n
    is gone. `bridged`: numbers of lost entries that a bridge stands for. `tier_id`: 16 bytes of the first
    entry's digest; names this tier among all, and survives its being restored to an older state. `snapshots`:
    by id (hex), in the order of their entries. `by_token`: run token → snapshot id. `segments`: names (hex) of
    the live index segments, with the number of the entry that brought them. `entry_of`: snapshot id → its entry.
    """

    repository_id: bytes
    genesis: bytes
    digests: list[bytes] = field(default_factory=list)
    tier_id: bytes | None = None
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    by_token: dict[str, str] = field(default_factory=dict)
    segments: dict[str, int] = field(default_factory=dict)
    replaced_segments: set[str] = field(default_factory=set)
    entry_of: dict[str, int] = field(default_factory=dict)
    marked_packs: set[bytes] = field(default_factory=set)
    key_objects: dict[str, str] = field(default_factory=dict)
    witnesses: dict[bytes, Head] = field(default_factory=dict)
    faults: list[LogFault] = field(default_factory=list)
    bridged: set[int] = field(default_factory=set)
    _is_linked: bool = True

    def __post_init__(self) -> None:
        if not self.digests:
            self.digests.append(self.genesis)

    @property
    def head(self) -> Head:
        """The last entry; number 0 and the genesis where there is none."""
        return Head(len(self.digests) - 1, self.digests[-1])

    def with_entries(self, entries: Iterable[Entry | LogFault]) -> LogState:
        """The state after these entries too; this one stays as it is."""
        state = replace(
            self,
            digests=list(self.digests),
            snapshots=dict(self.snapshots),
            by_token=dict(self.by_token),
            segments=dict(self.segments),
            replaced_segments=set(self.replaced_segments),
            entry_of=dict(self.entry_of),
            marked_packs=set(self.marked_packs),
            key_objects=dict(self.key_objects),
            witnesses=dict(self.witnesses),
            faults=list(self.faults),
            bridged=set(self.bridged),
        )
        for entry in entries:
            if isinstance(entry, LogFault):
                state.add_fault(entry.number, entry.error)
            else:
                state.add(entry)
        return state

    def add(self, entry: Entry) -> None:
        """Take entry `head.number + 1`; one that does not continue this history becomes a fault."""
        try:
            if self._is_linked and entry.previous != self.digests[-1]:
                raise Damaged("log entry does not continue this history", number=entry.number)
            if isinstance(entry.body, Begun) and entry.number != 1:
                raise Damaged("log begins twice", number=entry.number)
            self._apply(entry)
        except Damaged as error:
            self.add_fault(entry.number, error, entry.digest)
            return
        self.digests.append(named_by_the_next(entry))
        self._is_linked = True
        if entry.number == 1:
            self.tier_id = self.digests[1][:TIER_ID_LENGTH]

    def add_fault(self, number: int, error: RepositoryError, digest: bytes = b"") -> None:
        """Entry `head.number + 1` cannot be used."""
        self.faults.append(LogFault(number, error))
        self.digests.append(digest)
        self._is_linked = False

    def _apply(self, entry: Entry) -> None:
        match entry.body:
            case Begun():
                pass
            case SnapshotCommitted() as committed:
                self._apply_snapshot(committed, entry.number)
            case IndexChanged(added=added, replaced=replaced):
                for name in replaced:
                    self.segments.pop(name, None)
                self.replaced_segments.update(replaced)
                self.segments.update(dict.fromkeys(added, entry.number))
                self.replaced_segments.difference_update(added)
            case PacksMarked(packs=packs):
                self.marked_packs.update(map(bytes.fromhex, packs))
            case PacksUnmarked(packs=packs):
                self.marked_packs.difference_update(map(bytes.fromhex, packs))
            case KeysChanged(objects=objects):
                self.key_objects = dict(objects)
            case HistoryAccepted(tier_id=tier_id, number=number, digest=digest):
                self.witnesses[bytes.fromhex(tier_id)] = Head(number, bytes.fromhex(digest))
            case Bridged():
                self.bridged.add(entry.number)

    def _apply_snapshot(self, committed: SnapshotCommitted, number: int) -> None:
        body = bytes(committed.manifest)
        if snapshot_id(self.repository_id, body).hex() != committed.id:
            raise Damaged("snapshot has another id than its manifest", number=number)
        manifest = decode_manifest(body)
        self.snapshots[committed.id] = Snapshot(committed.id, manifest, body)
        self.entry_of[committed.id] = number
        self.by_token.setdefault(manifest.run_token, committed.id)
        self.segments.update(dict.fromkeys(committed.segments, number))
        for tier_id, (seen, digest) in committed.witnesses.items():
            head = Head(seen, bytes.fromhex(digest))
            self.witnesses[bytes.fromhex(tier_id)] = max(head, self.witnesses.get(bytes.fromhex(tier_id), head))

    def contradicts(self, seen: Head) -> bool:
        """Whether this log, which once had the head `seen`, now shows an older or another history.

        A bridge was made by a holder of the key, who could not know the lost entry's digest: it fits any.
        """
        if seen.number >= len(self.digests):
            return True
        present = self.digests[seen.number]
        return seen.number not in self.bridged and bool(present and seen.digest) and present != seen.digest


def named_by_the_next(entry: Entry) -> bytes:
    """The digest that the entry behind this one names as its previous one."""
    if isinstance(entry.body, Bridged) and entry.body.stands_for:
        return bytes.fromhex(entry.body.stands_for)
    return entry.digest
