"""Writers announce themselves, and what an unfinished one uploaded is adopted by the next.

Promise: a pack that was uploaded by a writer that died is in the tier's index after the next writer's
`begin_writing`, so nothing is uploaded twice. The markers are hints, not locks: nobody waits for one, and a
lost marker costs space, never data. (A live writer whose marker another one removed still commits; should it
die as well, `check` names its packs as orphans and `repair` adopts them.)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from repository.errors import AccessDenied, Locked, RepositoryError
from repository.format import pack_object_key
from repository.index.index import Index
from repository.index.pack_catalog import stored_packs
from repository.index.whole_packs import read_whole
from repository.opened import key_change
from repository.opened.open_tier import LockUntil, OpenTier, no_lock
from repository.opened.open_tiers import OpenTiers
from repository.opened.present_objects import are_left
from repository.stored.part import PENDING_PREFIX
from repository.stored.sealed_object import ObjectKind, seal_object

__all__ = ["PENDING_PREFIX", "begin_writing", "end_writing"]

WRITER_TOKEN_LENGTH: Final = 16


class Adoption(NamedTuple):
    """What was adopted on one tier. `damaged`: what is no whole pack of its name; it stays an orphan."""

    tier: str
    markers: list[str]
    packs: int
    damaged: list[bytes]


class Marker(msgspec.Struct, frozen=True):
    """What a marker says; sealed like everything."""

    writer: str
    time_ns: int


def marker_object_key(writer_token: bytes) -> str:
    """Where a writer's marker lives below a tier's prefix."""
    return PENDING_PREFIX + writer_token.hex()


def begin_writing(
    repository: OpenTiers,
    writer_token: bytes,
    tiers: Sequence[OpenTier] | None = None,
    lock_until: LockUntil = no_lock,
) -> list[Adoption]:
    """See `Repository.begin_writing`. A tier that fails on the way becomes UNREACHABLE, and the others go on."""
    adoptions: list[Adoption] = []
    for tier in repository.ready_tiers() if tiers is None else tiers:
        try:
            # What keeps the log from taking entries is seen before anything is uploaded, not when all is.
            tier.refresh()
            if tier.is_ready and key_change.owes_keys(repository, tier):
                # It was away when they were made: what is written under them could not be read from it alone.
                key_change.copy_keys(repository, tier)
            if tier.is_ready:
                adoptions.append(announce(repository, tier, writer_token, lock_until(tier)))
        except RepositoryError as error:
            tier.set_unreachable(error)
    return adoptions


def announce(
    repository: OpenTiers, tier: OpenTier, writer_token: bytes, lock_until: datetime | None = None
) -> Adoption:
    """Leave a marker on one tier and adopt what others left unfinished there. Raises the store's errors."""
    own = marker_object_key(writer_token)
    alive = {own, *map(marker_object_key, tuple(repository.live_writers))}
    # What lies deeper belongs to a snapshot in parts, and to those who make it.
    others = [
        key
        for key in (info.key for info in tier.store.list(PENDING_PREFIX))
        if key not in alive and key.count("/") == 1
    ]
    marker = msgspec.json.encode(Marker(writer_token.hex(), repository.clock.now_ns()))
    body = seal_object(marker, repository.keys.root, ObjectKind.PENDING_MARKER, repository.randomness)
    # The own marker stands before the first pack and before others' are removed: whenever packs may be
    # orphans, some marker says so.
    tier.store.put(own, body)
    if not others:
        return Adoption(tier.name, [], 0, [])
    tier.refresh()
    packs, damaged = adopt_orphans(repository, tier, lock_until)
    for key in others:
        remove_marker(tier, key)
    return Adoption(tier.name, others, packs, damaged)


def end_writing(repository: OpenTiers, writer_token: bytes, tiers: Sequence[OpenTier] | None = None) -> None:
    """See `Repository.end_writing`. A marker that cannot be removed costs the next writer a listing."""
    for tier in repository.ready_tiers() if tiers is None else tiers:
        try:
            remove_marker(tier, marker_object_key(writer_token))
        except RepositoryError as error:
            tier.set_unreachable(error)


def remove_marker(tier: OpenTier, object_key: str) -> None:
    """Take a marker away. One that must not be deleted stays, and costs the writers to come a listing.

    Buckets are set up to lock whatever they get, and writers to have no right to delete: neither keeps a
    backup from being made.
    """
    with suppress(Locked, AccessDenied):
        tier.store.delete(object_key)


def adopt_orphans(repository: OpenTiers, tier: OpenTier, lock_until: datetime | None = None) -> tuple[int, list[bytes]]:
    """Put packs that no row points at into the tier's index; returns how many, and the bad ones, which stay out.

    Each is read whole: whoever finds its chunks in the index does not store them again. Raises the store's errors.
    """
    # What a prune has begun to delete is nobody's to count on.
    known, seen = tier.index.pack_ids() | tier.log.state.swept_packs, tier.log.state.head.number
    orphans = [pack for pack in stored_packs(tier.store) if pack.id not in known]
    index, damaged, adopted = Index(), list[bytes](), 0
    for contents in read_whole(tier.store, repository.keys, orphans):
        if contents.error is None:
            index.add_pack(contents.pack.id, contents.frames)
            adopted += bool(contents.frames)
        else:
            damaged.append(contents.pack.id)
    if adopted:
        # Who uploaded them may have died before syncing: a name must not be lost after the index relies on it.
        tier.store.settle(map(pack_object_key, index.pack_ids()))
        sealed = repository.seal_segments(index.take_new_segments())
        # Another one may have adopted them, too, and a prune deleted some of them by then: those left are for the next.
        only_if = are_left(sealed, seen)
        if not tier.change_index(sealed, (), "adopted", lock_until=lock_until, only_if=only_if):
            adopted = 0
    return adopted, damaged
