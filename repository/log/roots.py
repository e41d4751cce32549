"""What a root that is not in force any more has signed, and what of it still counts.

Promise: where another root took its place, what the old one signed counts only as far as the new one names it: each
entry names the one before by its digest. So whoever has an old root alone can neither add to what was there
nor exchange it.
"""

from __future__ import annotations

from collections.abc import Sequence

from repository.errors import Damaged
from repository.keys.key_ring import NO_RANK, Rank
from repository.log.state import Head, LogFault, named_by_the_next
from repository.stored.log_entry import Bridged, Entry, RootChanged


def proven(
    entries: Sequence[Entry | LogFault], root: Rank = NO_RANK, seen: Head | None = None
) -> Sequence[Entry | LogFault]:
    """The same entries, faults in the place of those that an older root signed and that no newer one names.

    `root`: which has to be in force at the end, at least. `seen`: the last entry of which that one's holder knew.
    """
    signers = {entry.signer for entry in entries if isinstance(entry, Entry)}
    newest = max({*signers, root})
    if signers <= {newest}:
        return entries
    bridges: dict[int, str] = {}
    found: list[Entry | LogFault] = []
    named = b""
    for entry in reversed(entries):
        if isinstance(entry, LogFault):
            found.append(entry)
            named = b""
            continue
        if seen is not None and entry.number == seen.number:
            named = named or seen.digest
        # Who bridged an entry chose what it stands for, and so might whoever bridges it once more.
        is_named = named == named_by_the_next(entry) and (
            not isinstance(entry.body, Bridged) or bridges.get(entry.number) == entry.digest.hex()
        )
        if entry.signer < newest and not is_named:
            message = "log entry is signed by a root that is not in force any more"
            found.append(LogFault(entry.number, Damaged(message, number=entry.number)))
            named = b""
            continue
        found.append(entry)
        named = entry.previous
        if isinstance(entry.body, RootChanged):
            bridges |= dict(entry.body.bridges)
    return found[::-1]
