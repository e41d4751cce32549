"""What a use case is given beside the event that it is to deal with. Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from chassis.context import Context
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event

TRIES = 16
"""More than what a request is about changes in the meantime: who meets each change comes through all the same."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The message whose effect is being recorded: the durable consumer's name and the event's id."""

    consumer: str
    event_id: str


class Handling(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery. `context`: of what follows from it; `deliveries` counts from 1, this one included.

    `actor`: who is answerable for what is dealt with, of whoever asked for something such as `user:<subject>`.
    """

    context: Context
    handled: Handled
    deliveries: int = 1
    actor: str = ""


UseCase = Callable[[Any, Handling], Awaitable[None]]
"""Takes an event and records what follows, a refusal too, together with the message as handled.

It is called anew where what it has looked at was changed meanwhile (CONCURRENT_CHANGE), so it begins by looking.
"""


async def deal_with(use_case: UseCase, event: Event, handling: Handling) -> None:
    """Have a use case deal with an event. Raises what it raises; CONCURRENT_CHANGE to be asked again later."""
    for attempt in range(TRIES):
        try:
            await use_case(event, handling)
        except PlatformError as error:
            if error.code is not errors.CONCURRENT_CHANGE or attempt == TRIES - 1:
                raise
        else:
            return
