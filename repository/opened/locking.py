"""Locks that were asked for: set, and proven by what the store then says of the objects.

Promise: whoever asks for a lock has it when the call returns, or an error that says so. Before anything is uploaded
the config is locked, which every snapshot needs: what refuses that, or does not show it afterwards, gets no backup.
An object is locked with the bytes that it should have, so that other bytes put over it gain nothing.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from repository.errors import AccessDenied, BucketMissing, LocationInvalid, LockNotProven, RepositoryError
from repository.tiers.port import ObjectStore

PARALLEL_LOCKS: Final = 16
READ_BACK: Final = 16
"""Objects whose lock is read back after it was set, at most: a store that ignores locks ignores each of them."""


def lock_date(store: ObjectStore, days: int) -> datetime | None:
    """So many days from now, by the store's clock; None for no days."""
    return store.now() + timedelta(days=days) if days else None


def lock(store: ObjectStore, objects: Mapping[str, bytes | None], until: datetime) -> None:
    """Lock these objects (key → SHA-256 of their bytes, None where it is not known) at least until then.

    All that can be locked are before anything is raised. Raises `LockNotProven`, `Damaged` (other bytes lie over an
    object's own), `ObjectMissing`, `TierUnreachable`.
    """
    if store.capabilities.locks is False:
        raise LockNotProven("the tier cannot lock objects", tier=store.name)

    def attempt(key: str) -> RepositoryError | None:
        try:
            store.extend_lock(key, until, sha256=objects[key])
        except RepositoryError as error:
            return error
        return None

    with ThreadPoolExecutor(PARALLEL_LOCKS, thread_name_prefix="lock") as pool:
        errors = [error for error in pool.map(attempt, objects) if error is not None]
    for error in errors:
        if isinstance(error, AccessDenied | LocationInvalid) and not isinstance(error, BucketMissing):
            raise LockNotProven("the tier refuses to lock", tier=store.name, answer=error.message) from error
        raise error
    for key in list(objects)[:: -(-len(objects) // READ_BACK) or 1]:
        _read_back(store, key, until)


def expect_locked(store: ObjectStore, key: str) -> None:
    """Raises `LockNotProven` unless the object is locked now."""
    _read_back(store, key, store.now())


def _read_back(store: ObjectStore, key: str, until: datetime) -> None:
    found = store.head(key)
    if found is None or found.lock_until is None or found.lock_until < until:
        raise LockNotProven("the tier does not show the lock that was set", tier=store.name, key=key)
