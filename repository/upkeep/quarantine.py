"""Bytes that were about to be replaced, kept: what is damaged or foreign may be evidence, or hold what was lost.

Promise: a repair puts nothing over an object before what lay there is durable under `quarantine/<its key>.<8 hex>`.
Readers ignore the prefix; whoever has looked at what is there may delete it.
"""

from __future__ import annotations

from typing import Final

from repository.errors import ObjectMissing
from repository.ports import Randomness
from repository.tiers.port import ObjectStore

QUARANTINE_PREFIX: Final = "quarantine/"
_SUFFIX_LENGTH: Final = 4


def set_aside(store: ObjectStore, object_key: str, randomness: Randomness) -> str | None:
    """Keep what lies under the key; returns where, or None where there is nothing. Raises what the store raises."""
    aside = f"{QUARANTINE_PREFIX}{object_key}.{randomness.token_bytes(_SUFFIX_LENGTH).hex()}"
    try:
        store.set_aside(object_key, aside)
    except ObjectMissing:
        return None
    return aside
