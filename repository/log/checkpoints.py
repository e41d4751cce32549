"""States as checkpoints, and back; and the checkpoints of one tier.

Promise: `CheckpointShelf.newest` returns a state only where the tier's own log confirms it: the entry that the
checkpoint speaks of is there, with the digest and the tier id that the checkpoint names. Whatever else lies there
(stale, forged, cut off, another tier's) costs the reading of the log from its beginning, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec

from repository.errors import AccessDenied, AlreadyExists, Locked, RepositoryError
from repository.keys import crypto
from repository.keys.key_ring import KeyRing, Rank
from repository.log.shared_map import SharedMap
from repository.log.state import Head, LogFault, LogState, named_by_the_next
from repository.log.tail import TAIL_KEY
from repository.ports import Randomness
from repository.stored.checkpoint import (
    CHECKPOINT_PREFIX,
    CheckpointAndEnded,
    Kept,
    checkpoint_object_key,
    checkpoint_of,
    decode_checkpoint,
    encode_checkpoint,
)
from repository.stored.log_entry import DIGEST_LENGTH, CheckpointMade, Entry
from repository.stored.object_reading import length_max_of, read_object
from repository.stored.snapshot import Snapshot
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore

TRIED_MAX: Final = 3
"""Checkpoints that are looked at, the newest first, and that stay when a newer one is made."""
READ_MAX: Final = 64
"""Objects that are read in search of them, at most: what is put among them costs the reading of the log, no more."""


def checkpoint_from(state: LogState, time_ns: int) -> CheckpointAndEnded:
    """The state as it goes into an object; it has no faults, and is of a log that has begun."""
    assert state.tier_id is not None  # noqa: S101 - a log that has begun has one
    entry_of, locked_until, live = state.entry_of.plain(), state.locked_until.plain(), state.snapshots.plain()
    return CheckpointAndEnded(
        time_ns=time_ns,
        number=state.head.number,
        digest=state.head.digest,
        tier_id=state.tier_id,
        snapshot_count=state.snapshot_count,
        snapshots=tuple(
            Kept(
                bytes.fromhex(identity),
                entry_of[identity],
                locked_until.get(identity),
                snapshot.brief.run_token,
                snapshot.body,
            )
            for identity, snapshot in live.items()
        ),
        forgotten=state.forgotten.plain(),
        segments=state.segments,
        replaced=b"".join(map(bytes.fromhex, state.replaced_segments)),
        marked=b"".join(sorted(state.marked_packs)),
        swept=b"".join(sorted(state.swept_packs)),
        key_objects=state.key_objects,
        destroyed_keys=tuple(sorted(state.destroyed_keys)),
        holds=state.holds,
        witnesses={tier_id.hex(): (head.number, head.digest) for tier_id, head in state.witnesses.items()},
        bridged=tuple(sorted(state.bridged)),
        streams=state.streams,
        released_holds=tuple(sorted(state.released_holds)),
        tags=state.tags,
        ended_keks=tuple(sorted(state.ended_keks)) or msgspec.UNSET,
    )


def state_from(checkpoint: CheckpointAndEnded, repository_id: bytes, genesis: bytes, root: Rank) -> LogState:
    """The state that a checkpoint holds. `root`: which signed it."""
    live = {each.id.hex(): each for each in checkpoint.snapshots}
    twins: dict[str, tuple[str, ...]] = {}
    for identity, each in live.items():
        twins[each.run_token] = (*twins.get(each.run_token, ()), identity)
    past = {token: identity for identity, token in checkpoint.forgotten.items() if token}
    return LogState(
        repository_id,
        genesis,
        root=root,
        base=checkpoint.number,
        digests=[checkpoint.digest],
        tier_id=checkpoint.tier_id,
        snapshot_count=checkpoint.snapshot_count,
        snapshots=SharedMap({identity: Snapshot(identity, each.manifest) for identity, each in live.items()}),
        by_token=SharedMap({**past, **{token: identities[0] for token, identities in twins.items()}}),
        forgotten=SharedMap(checkpoint.forgotten),
        twins={token: identities for token, identities in twins.items() if len(identities) > 1},
        entry_of=SharedMap({identity: each.entry for identity, each in live.items()}),
        locked_until=SharedMap(
            {identity: each.locked_until for identity, each in live.items() if each.locked_until is not None}
        ),
        segments=dict(checkpoint.segments),
        replaced_segments=SharedMap(dict.fromkeys(digest.hex() for digest in _split(checkpoint.replaced))),
        marked_packs=set(_split(checkpoint.marked)),
        swept_packs=set(_split(checkpoint.swept)),
        key_objects=dict(checkpoint.key_objects),
        destroyed_keys=set(checkpoint.destroyed_keys),
        holds=dict(checkpoint.holds),
        witnesses={bytes.fromhex(tier): Head(*head) for tier, head in checkpoint.witnesses.items()},
        bridged=set(checkpoint.bridged),
        ends_in_consequence=True,  # nobody says that it does not
        streams=dict(checkpoint.streams),
        released_holds=set(checkpoint.released_holds),
        tags=dict(checkpoint.tags),
        ended_keks=set() if checkpoint.ended_keks is msgspec.UNSET else set(checkpoint.ended_keks),
    )


def _split(digests: bytes) -> Iterator[bytes]:
    for start in range(0, len(digests), DIGEST_LENGTH):
        yield digests[start : start + DIGEST_LENGTH]


def _is_confirmed(checkpoint: CheckpointAndEnded, entry: Entry | LogFault) -> bool:
    shown = (named_by_the_next(entry), entry.place.tier_id) if isinstance(entry, Entry) else None
    return shown == (checkpoint.digest, checkpoint.tier_id)


class CheckpointShelf:
    """The checkpoints of one tier."""

    def __init__(self, store: ObjectStore, ring: KeyRing, cache: LocalCache | None) -> None:
        self._store = store
        self._ring = ring
        self._cache = cache
        self.vouched: list[tuple[bytes, Head]] = []
        """Tier id and head of genuine checkpoints that the log did not confirm: it once went that far."""
        self.has_tail = False
        """Whether there was a tail (`repository.log.tail`) beside them when they were last listed."""
        self._seen: set[str] = set()
        """Object keys of genuine ones that were read or made here."""

    def names(self) -> list[str]:
        """The object keys of what may be checkpoints, the oldest first."""
        keys = [info.key for info in self._store.list(CHECKPOINT_PREFIX)]
        self.has_tail = TAIL_KEY in keys
        return sorted(filter(checkpoint_of, keys))

    def read(self, object_key: str, *, by_any_root: bool = True) -> CheckpointAndEnded:
        """One checkpoint, authentic; `by_any_root`: as of `decode_checkpoint`.

        Raises `Damaged`, `ObjectMissing`, `UnknownKey` and the store's errors.
        """
        named = checkpoint_of(object_key)
        assert named is not None  # noqa: S101 - one of `names`
        number, digest = named
        body = self._cache.get(digest, length_max_of(object_key)) if self._cache is not None else None
        if body is None:
            body = read_object(self._store, object_key)
            if self._cache is not None and crypto.sha256(body) == digest:
                self._cache.put(digest, body)
        return decode_checkpoint(body, number, self._ring, by_any_root=by_any_root)

    def newest(self, genesis: bytes, read_entry: Callable[[int], Entry | LogFault]) -> LogState | None:
        """The state of the newest checkpoint that the log confirms. Raises what the store raises when it is asked."""
        self.vouched = []
        # All of them, where need be: those of a history that was given up may be locked, and are the newest for long.
        for _, checkpoint in self._genuine(self.names()[::-1]):
            if _is_confirmed(checkpoint, read_entry(checkpoint.number)):
                root = self._ring.newest_root
                return state_from(checkpoint, root.repository_id, genesis, root.rank)
            self.vouched.append((checkpoint.tier_id, Head(checkpoint.number, checkpoint.digest)))
        return None

    def unconfirmed(self, state: LogState, read_entry: Callable[[int], Entry | LogFault]) -> list[str]:
        """Object keys of genuine checkpoints of this log that it does not confirm: it once went on otherwise."""
        return [
            object_key
            for object_key, checkpoint in self._genuine(self.names()[::-1])
            if checkpoint.tier_id == state.tier_id
            and not (checkpoint.number <= state.head.number and isinstance(read_entry(checkpoint.number), LogFault))
            and not _is_confirmed(checkpoint, read_entry(checkpoint.number))
        ]

    def add(
        self,
        state: LogState,
        time_ns: int,
        randomness: Randomness,
        lock_until: datetime | None = None,
    ) -> CheckpointMade:
        """Store a checkpoint of this state; returns what an entry says of it. Raises what the store raises."""
        body = encode_checkpoint(checkpoint_from(state, time_ns), self._ring.root, randomness)
        digest = crypto.sha256(body)
        object_key = checkpoint_object_key(state.head.number, digest)
        with suppress(AlreadyExists):
            self._store.put(object_key, body, sha256=digest, if_absent=True, lock_until=lock_until)
        self._seen.add(object_key)
        if self._cache is not None:
            self._cache.put(digest, body)
        return CheckpointMade(time_ns=time_ns, number=state.head.number, digest=digest.hex())

    def tidy(self) -> None:
        """Take old checkpoints away, as far as that is allowed: genuine ones, of which newer genuine ones are there."""
        names = self.names()
        kept = list(islice(self._genuine_names(names[::-1]), TRIED_MAX))
        if len(kept) < TRIED_MAX:
            return
        older = names[: names.index(kept[-1])]
        with suppress(Locked, AccessDenied):
            for object_key in self._genuine_names(older):
                self._store.delete(object_key)

    def _genuine_names(self, object_keys: Iterable[str]) -> Iterator[str]:
        """The same by name alone: what was read once is not read again, for it is long."""
        for object_key in islice(object_keys, READ_MAX):
            if object_key in self._seen or next(self._genuine([object_key]), None) is not None:
                yield object_key

    def _genuine(self, object_keys: Iterable[str]) -> Iterator[tuple[str, CheckpointAndEnded]]:
        """Those that the last root signed. Names prove nothing: anybody who may write to the store can make some."""
        for object_key in islice(object_keys, READ_MAX):
            try:
                checkpoint = self.read(object_key, by_any_root=False)
            except RepositoryError:
                continue  # a hint that is of no use: the log itself says all
            self._seen.add(object_key)
            yield object_key, checkpoint
