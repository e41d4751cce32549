"""What a tier is good for."""

from enum import StrEnum
from typing import Final


class TierState(StrEnum):
    """What a tier is good for. A tier that merely lacks something is ready; see `catch_up.lag`."""

    READY = "ready"
    """Reads and writes."""
    EMPTY = "empty"
    """Answers and holds no repository: `Repository.add_tier` begins one, catch-up fills it."""
    VANISHED = "vanished"
    """Was in use, as the caller knows, and is empty or gone: neither read, nor begun anew."""
    UNREACHABLE = "unreachable"
    """Does not answer, or refuses."""
    FOREIGN = "foreign"
    """Holds another repository."""
    DAMAGED = "damaged"
    """Config, keys, log or index have faults: read with care, repair before writing."""
    REPLAYED = "replayed"
    """Shows an older or another history than was seen: read with care, never write."""
    UNSUPPORTED = "unsupported"
    """Was written by a later version."""


READABLE: Final = frozenset((TierState.READY, TierState.DAMAGED, TierState.REPLAYED))
