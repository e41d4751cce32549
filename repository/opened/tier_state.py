"""What a tier is good for."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from repository.errors import AccessDenied, RepositoryError


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
    PARTLY_UNREADABLE = "partly-unreadable"
    """Gives all but some object of config, keys, log or index, which may be whole: read with care, never written."""
    REPLAYED = "replayed"
    """Shows an older or another history than was seen: read with care, never write."""
    UNSUPPORTED = "unsupported"
    """Was written by a later version."""


READABLE: Final = frozenset((TierState.READY, TierState.DAMAGED, TierState.PARTLY_UNREADABLE, TierState.REPLAYED))


def by_what_is_wrong(errors: Iterable[RepositoryError | None]) -> tuple[TierState, RepositoryError | None]:
    """What a tier with these errors (None: no error) is, and why. Damage says more than what may not be read."""
    wrong = [each for each in errors if each is not None]
    damage = next((each for each in wrong if not isinstance(each, AccessDenied)), None)
    if damage is not None:
        return TierState.DAMAGED, damage
    return (TierState.PARTLY_UNREADABLE, wrong[0]) if wrong else (TierState.READY, None)
