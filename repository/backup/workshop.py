"""What all backups of a process share beside repositories: memory, and turns at native work.

Promise: buffers never exceed the budget, whatever the number of backups; as many threads compress at a time as there
are workers, first come, first served, with as many compressors. Who waits for a source, a tier or memory has none.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from repository.format import Buffer, Compression, ContentClass
from repository.stored.compression import Compressor
from repository.stored.memory_budget import MemoryBudget, too_small
from repository.stored.pack_builder import BUFFER_LENGTH_MIN, PACK_TARGET

WORKERS_MAX: Final = 8
TREE_PACK_TARGET: Final = BUFFER_LENGTH_MIN
PACKS_MIN: Final = 2
"""One pack that is filled while another is sent."""


class Workshop:
    """For any number of backups at a time. `workers`: threads of each, and turns in all; 0: one for each core.

    `memory_budget`: bytes of buffers in all. `is_alone`: for one backup, which has all of it.
    """

    def __init__(self, memory_budget: int, *, workers: int = 0, is_alone: bool = False) -> None:
        self.workers = workers or min(os.cpu_count() or 1, WORKERS_MAX)
        self.is_alone = is_alone
        self.pack_length = PACK_TARGET
        self.tree_pack_length = TREE_PACK_TARGET
        self.memory = MemoryBudget(memory_budget, headroom=0 if is_alone else least_of_group())
        # The thread that walks compresses the tree.
        self._turns = Turns(self.workers + 1)
        self._lock = threading.Lock()
        self._free: dict[tuple[tuple[ContentClass, int], ...], list[Compressor]] = {}

    @staticmethod
    def for_one(memory_budget: int, *, workers: int, block_length: int) -> Workshop:
        """For one backup: rather fewer workers than fewer than two packs. Raises `LimitExceeded`."""
        wanted = workers or min(os.cpu_count() or 1, WORKERS_MAX)
        for count in range(wanted, 0, -1):
            if memory_budget >= least_of_group() + (count + 1) * block_length:
                return Workshop(memory_budget, workers=count, is_alone=True)
        raise too_small(memory_budget, least_of_group() + 2 * block_length)

    def least_of_group(self, block_length: int) -> int:
        """Bytes of the packs of one group, at least: all that is left where there is one backup alone.

        Raises `LimitExceeded` where that is too little for any.
        """
        if not self.is_alone:
            return least_of_group()
        left = self.memory.total - self.least_of_backup(block_length)
        if left < least_of_group():
            raise too_small(self.memory.total, self.least_of_backup(block_length) + least_of_group())
        return left

    def least_of_backup(self, block_length: int) -> int:
        """Bytes of the blocks that one backup reads into, at least."""
        return block_length * (self.workers + 1 if self.is_alone else 1)

    def compressor(self, levels: Mapping[ContentClass, int] | None) -> LentCompressor:
        """Compresses by these levels, each frame in a turn of its own."""
        return LentCompressor(self, dict(levels) if levels is not None else None)

    @contextmanager
    def turn(self, levels: dict[ContentClass, int] | None) -> Iterator[Compressor]:
        """A compressor, when it is one's turn."""
        key = tuple(sorted((levels or {}).items()))
        with self._turns:
            with self._lock:
                free = self._free.setdefault(key, [])
                compressor = free.pop() if free else None
            if compressor is None:
                compressor = Compressor(levels)
            try:
                yield compressor
            finally:
                with self._lock:
                    free.append(compressor)


def least_of_group() -> int:
    """Bytes of packs without which backups to one set of tiers do not go on."""
    return PACKS_MIN * (PACK_TARGET + TREE_PACK_TARGET)


class LentCompressor:
    """A compressor of a workshop's, for any thread."""

    def __init__(self, workshop: Workshop, levels: dict[ContentClass, int] | None) -> None:
        self._workshop = workshop
        self._levels = levels

    def compress(self, raw: Buffer, content_class: ContentClass) -> tuple[Compression, Buffer]:
        """See `Compressor.compress`."""
        with self._workshop.turn(self._levels) as compressor:
            return compressor.compress(raw, content_class)


class Turns:
    """So many at a time, first come, first served. A context manager for any number of threads."""

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        try:
            gate.acquire()
        except BaseException:
            with self._lock:
                is_waiting = gate in self._waiting
                if is_waiting:
                    self._waiting.remove(gate)
            if not is_waiting:
                self.__exit__()
            raise

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
