"""The memory of a backup: buffers, of which `memory_budget` says who may have how many."""

import contextlib
import mmap
from typing import TypeAlias

WAIT_SECONDS = 0.5
"""How often a waiter looks whether something has to be done about its waiting."""


Memory: TypeAlias = mmap.mmap
"""A buffer: anonymous memory that begins with a page, so that a disk can take it without a copy."""


def new_memory(length: int) -> Memory:
    """Zeros. Large pages where the system has them, for private memory alone: a pack is thousands of small ones, and to
    have each is as dear as to fill it.
    """
    memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
