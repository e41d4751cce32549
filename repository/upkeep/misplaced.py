"""Log entries that lie under another name than their own: under another number, a name that is none, or set aside.

Promise: what is found is signed by a root of the repository. Whether it was ever an entry of this log, at this place,
the entries beside it say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from repository.errors import RepositoryError
from repository.opened.open_tier import OpenTier
from repository.stored.log_entry import LOG_PREFIX, Entry, entry_number, entry_object_key
from repository.stored.manifest_object import MANIFEST_PREFIX
from repository.stored.object_reading import length_max_of
from repository.upkeep.quarantine import QUARANTINE_PREFIX

READ_MAX: Final = 1024
"""Objects of each folder that are looked into, at most: anybody may put some there."""


class Misplaced(NamedTuple):
    """An entry, the object under which it lies, and its bytes."""

    entry: Entry
    object_key: str
    body: bytes


def misplaced(tier: OpenTier, numbers: Iterable[int]) -> Iterator[Misplaced]:
    """What lies at the places of these entries and is another one, or has a name that is none, or was set aside.

    What the tier does not give is passed over. Raises what the store raises when it lists.
    """
    last = tier.log.state.head.number
    wrong = (info.key for info in tier.store.list(LOG_PREFIX) if not 0 < (entry_number(info.key) or 0) <= last)
    # A second copy of an entry is the entry itself.
    aside = (
        info.key
        for prefix in (LOG_PREFIX, MANIFEST_PREFIX)
        for info in islice(tier.store.list(QUARANTINE_PREFIX + prefix), READ_MAX)
    )
    for object_key in (*map(entry_object_key, numbers), *islice(wrong, READ_MAX), *aside):
        with suppress(RepositoryError):
            body = tier.store.get(object_key, length_max=length_max_of(LOG_PREFIX))
            yield Misplaced(tier.log.decoded(body, None), object_key, body)
