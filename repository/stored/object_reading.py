"""Reads whole objects of a tier, none longer than one of its kind can be.

Promise: an object of any length under any key costs its reader the memory of the longest genuine one at most;
a longer one is `Damaged`, by its key. Writers keep to the same bounds.
"""

from __future__ import annotations

from typing import Final

from repository.errors import LimitExceeded
from repository.format import PACK_LENGTH_MAX
from repository.tiers.port import ObjectStore

LENGTH_MAX: Final = {
    "config": 64 << 10,
    "keys": 256 << 10,  # a domain's name alone may have 64 KiB, in hexadecimal
    "log": 16 << 20,
    "snapshots": 16 << 20,
    "checkpoints": 1 << 30,
    "index": 256 << 20,  # writers stop at a quarter of that
    "streams": 32 << 20,  # an append of 16 MiB, with what does not compress
    "pending": 64 << 20,
    "pins": 1 << 20,
    "packs": PACK_LENGTH_MAX,
}
"""Bytes of one object, at most, by the first part of its key."""


def length_max_of(object_key: str) -> int:
    """Bytes of the object with this key, at most."""
    return LENGTH_MAX[object_key.partition("/")[0]]


def read_object(store: ObjectStore, object_key: str) -> bytes:
    """The whole object. Raises `Damaged` where it is too long, and what the store raises."""
    return store.get(object_key, length_max=length_max_of(object_key))


def check_length_of(object_key: str, length: int) -> None:
    """Raises `LimitExceeded` for an object that no reader would take."""
    length_max = length_max_of(object_key)
    if length > length_max:
        raise LimitExceeded("object would be longer than readers take", object_key=object_key, length=length)
