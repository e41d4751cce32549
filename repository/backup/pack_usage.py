"""Which packs a snapshot needs beside the ones it made: their locks are extended, their marks forbid it.

Promise: every chunk for which `add` returned True is in one of `packs`. Ids are forgotten at once, so that
memory grows with the number of packs and not of chunks.
"""

import threading
from collections.abc import Callable, Collection

from repository.backup.parent_pages import UNREADABLE
from repository.index.index import Index
from repository.index.pack_sizes import lost_packs
from repository.opened.open_tier import OpenTier
from repository.stored.tree import ids_of


class PackUsage:
    """Collects the packs of chunks that are known. Thread-safe. `load` gives a chunk of the tree."""

    def __init__(self, index: Index, load: Callable[[bytes], bytes]) -> None:
        self._index = index
        self._load = load
        self._lock = threading.Lock()
        self._packs: set[bytes] = set()

    def add(self, content: bytes, depth: int = 0) -> bool:
        """Concatenated ids, with so many levels of lists below them.

        False when a chunk is nowhere, or marked: then what refers to it must be read again.
        """
        if depth and not self._lists_are_known(content, depth):
            return False
        found = self._index.packs_of(content)
        if found is None:
            return False
        if not found <= self._packs:
            with self._lock:
                self._packs |= found
        return True

    def packs(self) -> set[bytes]:
        """The packs of everything that was added."""
        with self._lock:
            return set(self._packs)

    def leave(self, packs: Collection[bytes]) -> None:
        """What was needed of these packs lies in others, on which the snapshot leans as well."""
        with self._lock:
            self._packs.difference_update(packs)

    def _lists_are_known(self, content: bytes, depth: int) -> bool:
        try:
            return all(self.add(bytes(self._load(list_id)), depth - 1) for list_id in ids_of(content))
        except UNREADABLE:
            return False


def lost_packs_of(tier: OpenTier) -> Collection[bytes]:
    """Packs that the tier's index has, and that the tier has not, or not whole. Raises the store's errors."""
    return lost_packs(tier.store, tier.index, tier.index.pack_ids() - tier.log.state.marked_packs).keys()
