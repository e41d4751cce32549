"""A repository over its tiers: init, open with whatever answers, snapshots. (Signatures first.)"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from repository.commit_log import Head
from repository.index import Index
from repository.keys import KeyProvider, KeyRing
from repository.ports import SYSTEM_CLOCK, SYSTEM_RANDOMNESS, Clock, Randomness
from repository.snapshot import Snapshot, SnapshotManifest
from repository.tiers.port import ObjectStore


class TierState(StrEnum):
    """What a tier is good for."""

    READY = "ready"  # reads and writes
    EMPTY = "empty"  # answers, holds no repository: `add_tier` makes it one, catch-up fills it
    UNREACHABLE = "unreachable"  # does not answer
    FOREIGN = "foreign"  # holds another repository
    DAMAGED = "damaged"  # config, keys, log or index cannot be read; restores object by object
    REPLAYED = "replayed"  # shows an older or other history than was seen: read with care, never write


class OpenTier:
    """One tier of an open repository."""

    name: str
    store: ObjectStore
    state: TierState
    error: Exception | None
    index: Index

    def commit_snapshot(
        self,
        manifest: SnapshotManifest,
        *,
        new_segments: Sequence[bytes] = (),
        packs: Iterable[bytes] = (),
        index: Index | None = None,
    ) -> Snapshot:
        """Commit a snapshot whose packs are on this tier already; returns it as committed.

        `new_segments`: sealed segments (`Repository.seal_segments`), stored here first. `packs`: ids of all packs
        that the snapshot references. A run token that is committed already gives the earlier
        snapshot back. Raises `PackMarked`, `TierBehind`, `LogContended` and the store's errors.
        """
        raise NotImplementedError

    def lacks(self, pack_ids: Iterable[bytes]) -> set[bytes]:
        """Which of these packs this tier's index does not know."""
        raise NotImplementedError


class Repository:
    """An open repository. Thread-safe."""

    id: bytes
    keys: KeyRing
    tiers: list[OpenTier]

    @staticmethod
    def init(
        stores: Sequence[ObjectStore],
        key_provider: KeyProvider,
        *,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
    ) -> Repository:
        """Create a repository on all these tiers, and open it. Raises `RepositoryExists`."""
        raise NotImplementedError

    @staticmethod
    def open(
        stores: Sequence[ObjectStore],
        key_provider: KeyProvider,
        *,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        known_heads: Mapping[str, Head] | None = None,
    ) -> Repository:
        """Open what answers; a dead tier is listed with its state and does not stop the others.

        Raises `NotARepository`, `NoUsableTier`, `WrongKey`, `Damaged`.
        """
        raise NotImplementedError

    def tier(self, name: str) -> OpenTier:
        """The tier of this name. Raises `NoUsableTier`."""
        raise NotImplementedError

    def usable_tiers(self) -> list[OpenTier]:
        """Tiers in state READY, in the order given."""
        raise NotImplementedError

    def session_index(self) -> Index:
        """The index that a backup deduplicates against: of the usable tiers' indexes, the one with the most chunks.

        It shares the tiers' segments (no copy) and takes the session's new packs by `add_pack`.
        A usable tier that `lacks(session.pack_ids())` is behind: it needs catch-up before the commit.
        """
        raise NotImplementedError

    def seal_segments(self, plain: Sequence[bytes]) -> list[bytes]:
        """Segments sealed once for all tiers: the same object, of the same name, goes to each."""
        raise NotImplementedError

    def begin_writing(self, writer_token: bytes) -> None:
        """Leave a pending marker on each usable tier, after adopting what an earlier writer left unfinished."""
        raise NotImplementedError

    def end_writing(self, writer_token: bytes) -> None:
        """Remove the markers, own and adopted, on each tier that has committed."""
        raise NotImplementedError

    def snapshots(self) -> list[Snapshot]:
        """All snapshots that any readable tier has, oldest first."""
        raise NotImplementedError

    def find_snapshot(self, name: str) -> Snapshot:
        """By `latest` or an unambiguous prefix of the id. Raises `SnapshotNotFound`."""
        raise NotImplementedError

    def tiers_with(self, snapshot: Snapshot) -> list[OpenTier]:
        """Readable tiers on which the snapshot is committed."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the stores."""
        raise NotImplementedError
