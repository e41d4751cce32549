"""Events that name many things: as many as an event has room for, whatever they are called."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from contracts.event import Event

ROOM_BYTES = 192 * 1024
"""Of the 256 KiB that an event may have (`chassis/record/mapper.py`): the rest is for the envelope."""

E = TypeVar("E", bound=Event)


def fitting(make: Callable[[int], E], most: int) -> E:
    """What `make` makes of the greatest number of names that fits: of `most`, a half of it, and so on, or of none."""
    named = most
    while len(msgspec.json.encode(event := make(named))) > ROOM_BYTES and named:
        named //= 2
    return event
