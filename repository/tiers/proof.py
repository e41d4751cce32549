"""Proves before a repository is begun that a store keeps the promises on which the repository rests.

There are servers that speak S3 and ignore conditions in silence. On those two writers would overwrite each
other's log entries, and nobody would notice before a restore. It costs half a dozen requests, once.
"""

from contextlib import suppress

from repository.errors import AccessDenied, AlreadyExists, LocationInvalid, Locked, RepositoryError
from repository.ports import SYSTEM_RANDOMNESS, Randomness
from repository.tiers.port import ObjectStore

_BODY_LENGTH = 64


def prove(store: ObjectStore, prefix: str, *, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
    """Put one object below `prefix` and try the store with it; the object is removed again, where that is allowed.

    Raises `LocationInvalid` with what the store does not do, and the store's errors.
    """
    key = prefix + randomness.token_bytes(16).hex()
    body = randomness.token_bytes(_BODY_LENGTH)
    try:
        store.put(key, body, if_absent=True)
        _prove(store, key, body)
        with suppress(AlreadyExists):
            store.put(key, body[::-1], if_absent=True)
            raise _unfit(store, "replaces an object that was to be created only if it is absent")
        if store.get(key) != body:
            raise _unfit(store, "changes an object when its creation is refused")
        store.put(key, body, if_absent=True)
    finally:
        # What must not be deleted, or cannot be now, stays and costs a listing.
        with suppress(Locked, AccessDenied):
            store.delete(key)


def _prove(store: ObjectStore, key: str, body: bytes) -> None:
    try:
        if store.get(key) != body:
            raise _unfit(store, "gives other bytes back than were put")
        if store.get_range(key, 7, 20) != body[7:27] or store.get_range(key, -9, 9) != body[-9:]:
            raise _unfit(store, "gives other ranges than were asked for")
        if key not in [info.key for info in store.list(key[:-8])]:
            raise _unfit(store, "does not list what was put")
        if store.head(key) is None:
            raise _unfit(store, "does not find what was put")
    except RepositoryError as error:
        if isinstance(error, LocationInvalid) or error.code in {"tier-unreachable", "tier-access-denied"}:
            raise
        raise _unfit(store, "does not give back what was put") from error


def _unfit(store: ObjectStore, what: str) -> LocationInvalid:
    hint = "This server or file system cannot hold a repository: choose another one, or a later version of it."
    return LocationInvalid(f"the store {what}", hint=hint, tier=store.name)
