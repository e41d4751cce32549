"""What lies on a tier that no part of the format explains, what its name hides, and what is another tier's file.

Promise: anybody may put objects there, so they are worth a note and no more. A genuine entry of this log under a name
that is not its own, of a number that the log lacks, is damage: somebody moved it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from repository.errors import AccessDenied, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.index.segments import INDEX_PREFIX
from repository.keys.key_ring import KEY_PREFIX
from repository.log.log_reader import GAP_MAX
from repository.log.tail import TAIL_KEY
from repository.opened.open_tier import OpenTier
from repository.opened.pending import PENDING_PREFIX
from repository.stored.checkpoint import CHECKPOINT_PREFIX, checkpoint_of
from repository.stored.config import CONFIG_KEY
from repository.stored.log_entry import LOG_PREFIX, Entry, entry_number, entry_object_key
from repository.stored.manifest_object import manifest_id
from repository.stored.object_reading import read_object
from repository.stored.pin import pin_of
from repository.stored.stream_piece import piece_of
from repository.upkeep.check_report import Finding, Problem, unknown
from repository.upkeep.quarantine import QUARANTINE_PREFIX

READ_MAX: Final = 64
"""Strange objects below `log/` that are looked into, at most."""
_BY_NAME: Final = re.compile(f"{INDEX_PREFIX}[0-9a-f]{{64}}|{PENDING_PREFIX}[0-9a-f]{{32}}(?:/[0-9]{{4}})?")
"""Old segments, markers and parts, which nobody reads again."""
_PLAN: Final = re.compile(f"{PENDING_PREFIX}[0-9a-f]{{32}}/plan")


class Strange(NamedTuple):
    """One object, and what is worth knowing of it."""

    problem: Problem
    object_key: str
    detail: str


def strange_objects(tier: OpenTier, explained: Collection[str]) -> Iterator[Strange]:
    """What lies there besides `explained` and what has a name of the format. Raises the store's errors."""
    last, looked = tier.log.state.head.number, 0
    for info in tier.store.list(""):
        key = info.key
        if _PLAN.fullmatch(key) is not None:
            detail = "a snapshot in parts is being made, or its writers died: it is to be joined or abandoned"
            yield Strange(Problem.ABANDONED, key, detail)
        elif key in explained or _has_a_place(key, last):
            continue
        elif key.startswith(LOG_PREFIX) and looked < READ_MAX:
            looked += 1
            yield _below_log(tier, key, last)
        else:
            yield Strange(Problem.STRANGE, key, "no part of the format explains the object")


def shared_packs(tier: OpenTier, others: Iterable[OpenTier], object_keys: Collection[str]) -> Iterator[Finding]:
    """Packs that are one file with another tier's: whatever befalls the one befalls the other."""
    for other in others:
        if not (tier.store.capabilities.local and other.store.capabilities.local):
            continue
        for key in object_keys:
            own, theirs = tier.store.local_path(key), other.store.local_path(key)
            if own is None or theirs is None:
                continue  # one of them has not this pack
            with suppress(OSError):
                if Path(own).samefile(theirs):
                    detail = f"it is the very file of tier {other.name} (a hard link): kept once, counted twice"
                    yield Finding(tier.name, Problem.PACK_SHARED, key, detail, (tier.name,))


def _has_a_place(key: str, last: int) -> bool:
    number = entry_number(key)
    return (
        key in (CONFIG_KEY, TAIL_KEY)
        or key.startswith((KEY_PREFIX, QUARANTINE_PREFIX))
        or _BY_NAME.fullmatch(key) is not None
        or manifest_id(key) is not None
        or piece_of(key) is not None
        or pin_of(key) is not None
        or (key.startswith(CHECKPOINT_PREFIX) and checkpoint_of(key) is not None)
        or (number is not None and number - last <= GAP_MAX)
    )


def _below_log(tier: OpenTier, key: str, last: int) -> Strange:
    """A name that is no entry's, or a number far beyond the log's end: who signs entries leaves no such gap."""
    junk = Strange(Problem.STRANGE, key, "it is no entry of this log: anybody may have put it there")
    try:
        entry = tier.log.decoded(read_object(tier.store, key), None)
    except AccessDenied as error:
        return Strange(Problem.TIER, key, unknown(tier.name, key, error).detail)
    except RepositoryError as error:
        if not is_fault_of_object(error):
            raise
        return junk
    number = entry.number
    is_lost = number > last or not isinstance(tier.log.entry(number), Entry)
    if entry.place.tier_id != tier.log.state.tier_id or not is_lost:
        return Strange(Problem.STRANGE, key, f"it is a second copy of log entry {number}, or of another tier's")
    # Behind the last one nothing says which it was.
    what = "move it there, if it is the one" if number >= last else "`repo repair` puts it there"
    detail = f"it is log entry {number}, which the log lacks, and belongs at {entry_object_key(number)}: {what}"
    return Strange(Problem.LOG_ENTRY, key, detail)
