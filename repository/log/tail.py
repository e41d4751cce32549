"""The entries behind the newest checkpoint in one object, so that whoever opens does not ask for each.

Promise: a hint. Its entries are those of the log, byte for byte; which of them count is for `CommitLog` to say, which
takes an entry from here only where the tier lists one of the same number and length, reads the last one itself, and
reads all of them from their own places where the chain does not hold. It is overwritten, and lost without harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from repository.errors import AccessDenied, Locked, PlaceBlocked, RepositoryError
from repository.stored.checkpoint import CHECKPOINT_PREFIX
from repository.stored.log_entry import split_entries
from repository.tiers.port import ObjectStore

TAIL_KEY: Final = f"{CHECKPOINT_PREFIX}tail"
TAIL_EVERY: Final = 8
"""Entries after which a writer makes it anew."""
TAIL_LENGTH_MAX: Final = 16 << 20


def read_tail(store: ObjectStore) -> dict[int, bytes]:
    """The bytes of entries by their numbers, unproven; none where there is no tail, or no good one."""
    try:
        body = store.get(TAIL_KEY, length_max=TAIL_LENGTH_MAX)
    except RepositoryError:
        return {}  # what keeps the tier from answering keeps the log from being read, too
    return dict(split_entries(body))


def write_tail(store: ObjectStore, entries: Mapping[int, bytes]) -> bool:
    """Put these entries there, unless they are too long together; whether they are. Raises what the store raises."""
    if sum(map(len, entries.values())) > TAIL_LENGTH_MAX:
        return False
    # A store that takes no other bytes under the name keeps the older ones, which are good for less.
    with suppress(Locked, AccessDenied, PlaceBlocked):
        store.put(TAIL_KEY, [entries[number] for number in sorted(entries)])
    return True
