"""Legal holds of a store: set, and proven by what the store then says of the objects.

Promise: whoever asks for one has it when the call returns, or an error that says so. The holds that count are those of
the log: nothing of theirs is forgotten or pruned, whatever the store does. On a store that locks, they are set on its
objects as well, so that nobody else who has its credentials can delete these. What a held snapshot needs is config,
keys, packs, its entry and its second copy; segments come and go, and are made again from the packs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from repository.errors import AccessDenied, BucketMissing, LegalHoldNotSet, LocationInvalid, RepositoryError
from repository.index.segments import INDEX_PREFIX
from repository.keys.key_ring import KEY_PREFIX, key_id_of
from repository.log.state import holding
from repository.opened import present_objects
from repository.opened.locking import PARALLEL_LOCKS, READ_BACK
from repository.stored.log_entry import entry_object_key
from repository.stored.manifest_object import manifest_object_key
from repository.tiers.port import ObjectStore


def needed_by(tier: present_objects.HasLog, identity: str, packs: Iterable[bytes]) -> dict[str, bytes | None]:
    """What a snapshot that is committed here needs, its streams aside: object key → SHA-256, where it is known."""
    state = tier.log.state
    found = present_objects.needed_objects(tier, packs)
    number = state.entry_of[identity]
    found[entry_object_key(number)] = state.digest_of(number) or None
    found[manifest_object_key(identity)] = None
    # Not the keys of other domains: a hold does not keep anybody from erasing one that it has nothing of.
    keys = tier.log.keys_needed_for(state.snapshots[identity])
    other = {key for key in found if key.startswith(KEY_PREFIX) and key_id_of(key) not in keys}
    return {key: digest for key, digest in found.items() if key not in other and not key.startswith(INDEX_PREFIX)}


def keep_where_held(tier: present_objects.HasLog, identity: str, packs: Iterable[bytes]) -> None:
    """Where a hold keeps the snapshot that was committed just now, hold what it needs. Raises as `set_on`.

    No packs: of a copy, which may come with those of others too; whoever copies sees to its packs.
    """
    if tier.store.capabilities.locks is not False and holding(identity, tier.log.state.holds):
        set_on(tier.store, needed_by(tier, identity, packs), is_on=True)


def keep_keys(tier: present_objects.HasLog) -> None:
    """Hold key objects that held snapshots need and that came after the hold. Raises as `set_on`.

    Of a domain's snapshots each needs the same keys.
    """
    state = tier.log.state
    if not state.holds or tier.store.capabilities.locks is False:
        return
    held = {each.brief.domain: each.id for each in state.snapshots.plain().values() if holding(each.id, state.holds)}
    objects: dict[str, bytes | None] = {}
    for identity in held.values():
        needed = needed_by(tier, identity, ())
        objects |= {key: digest for key, digest in needed.items() if key.startswith(KEY_PREFIX)}
    missing = {key: objects[key] for key, is_on in holds_on(tier.store, objects).items() if not is_on}
    if missing:
        set_on(tier.store, missing, is_on=True)


def set_on(store: ObjectStore, objects: Mapping[str, bytes | None], *, is_on: bool) -> None:
    """Hold these objects (key → SHA-256 of their bytes, None where it is not known), or do so no more.

    All that can be are before anything is raised. Raises `LegalHoldNotSet`, `Damaged` (other bytes lie over an
    object's own), `ObjectMissing`, `TierUnreachable`.
    """

    def attempt(key: str) -> RepositoryError | None:
        try:
            store.set_legal_hold(key, is_on, sha256=objects[key])
        except RepositoryError as error:
            return error
        return None

    with ThreadPoolExecutor(PARALLEL_LOCKS, thread_name_prefix="legal-hold") as pool:
        errors = [error for error in pool.map(attempt, objects) if error is not None]
    for error in errors:
        if isinstance(error, AccessDenied | LocationInvalid) and not isinstance(error, BucketMissing):
            message = "the tier refuses legal holds"
            raise LegalHoldNotSet(message, tier=store.name, answer=error.message) from error
        raise error
    for key in list(objects)[:: -(-len(objects) // READ_BACK) or 1]:
        if store.legal_hold(key) is not is_on:
            raise LegalHoldNotSet("the tier does not show the legal hold as it was set", tier=store.name, key=key)


def holds_on(store: ObjectStore, keys: Iterable[str]) -> dict[str, bool | None]:
    """Whether a legal hold is on each object; None where that is not told. Raises the store's errors."""
    ordered = list(keys)
    with ThreadPoolExecutor(PARALLEL_LOCKS, thread_name_prefix="legal-hold") as pool:
        return dict(zip(ordered, pool.map(store.legal_hold, ordered), strict=True))
