"""What logs say of erasures that were begun: which keys went together, and which snapshots were forgotten for them.

Promise: whoever goes on with an erasure that was killed names what it was begun for, though nothing of it is live any
more and the keys that said whose it was are gone. The whole log of each tier that can be read is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from repository.opened.repository import Repository
from repository.stored.log_entry import KeysDestroyed, SnapshotsForgotten

_FOR_KEY: Final = "erased with "


def is_of_erasure(reason: str) -> bool:
    """Whether an entry with this reason belongs to an erasure, and so is nobody else's to give."""
    return reason.startswith(_FOR_KEY)


def reason_of(key_ids: Collection[str]) -> str:
    """Why snapshots are forgotten that go with these keys (ids, hex), as their entry says it."""
    return f"{_FOR_KEY}{min(key_ids)}" if key_ids else "erased"


@dataclass
class BegunErasures:
    """`forgotten`: by the key (id, hex) that the reason names, the snapshots; `together`: keys that one entry calls
    destroyed.
    """

    forgotten: dict[str, set[str]] = field(default_factory=dict)
    together: set[frozenset[str]] = field(default_factory=set)

    def keys_with(self, key_id: str) -> set[str]:
        """The keys that were destroyed with this one; itself is among them."""
        return {key_id}.union(*(each for each in self.together if key_id in each))

    def snapshots_of(self, key_ids: Collection[str]) -> set[str]:
        """What was forgotten for these keys."""
        return set().union(*(self.forgotten.get(each, ()) for each in key_ids))

    def destroyed(self) -> Iterator[tuple[str, ...]]:
        """The keys of each erasure whose keys are called destroyed."""
        return (tuple(sorted(each)) for each in self.together)


def begun_erasures(repository: Repository) -> BegunErasures:
    """Of all tiers that can be read. Raises the stores' errors."""
    found = BegunErasures()
    for tier in repository.readable_tiers():
        for entry in tier.log.entries():
            match entry.body:
                case SnapshotsForgotten(snapshots=snapshots, reason=reason) if is_of_erasure(reason):
                    found.forgotten.setdefault(reason.removeprefix(_FOR_KEY), set()).update(snapshots)
                case KeysDestroyed(key_ids=key_ids):
                    found.together.add(frozenset(key_ids))
                case _:
                    pass
    return found
