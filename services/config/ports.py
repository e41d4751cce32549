"""What the inside of the config service needs of the outside."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

import msgspec

from chassis.deciding import Things
from chassis.handling import Handling
from contracts.configuration import ConfigurationBody
from contracts.configuration_rules import KnownLocation
from contracts.gateway_events import ConfigurationItemSubmitted
from services.config.domain import Configuration, ConfigurationBulk, DueBackup


class LocationRegistry(Protocol):
    """The places that operators have registered."""

    async def known(self, names: Iterable[str], organisation: str) -> Mapping[str, KnownLocation]:
        """Those of some locations that the organisation may use, by name. One that does not answer is told soon."""
        ...


class Configurations(Things[Configuration], Protocol):
    """The record of configurations. With each version its name is taken."""

    async def record_answer(self, thing: Configuration, handling: Handling, missed: DueBackup | None = None) -> None:
        """Record an answer, the message as handled, and what is missed by it: all or none.

        Raises `ConfigurationNameTaken` where another configuration of the organisation has its digest;
        CONCURRENT_CHANGE, also where the instant was dealt with meanwhile.
        """
        ...


class Gathered(Protocol):
    """Items of requests for several configurations, until their request is decided."""

    async def keep(self, item: ConfigurationItemSubmitted, handling: Handling) -> None:
        """Keep one, and its message as handled: both or none."""
        ...

    async def is_decided(self, request_id: str) -> bool:
        """Whether a request has its answer. Raises UNAVAILABLE."""
        ...

    async def count(self, request_id: str) -> int:
        """How many of a request there are. Raises UNAVAILABLE."""
        ...

    async def items(self, request_id: str) -> Sequence[ConfigurationItemSubmitted]:
        """Those of a request, in their order. Raises EVENT_UNREADABLE, UNAVAILABLE."""
        ...

    async def taken(self, digests: Sequence[str], organisation: str) -> Iterable[str]:
        """Those of some names, by their digests, that configurations of an organisation have. Raises UNAVAILABLE."""
        ...

    async def record(self, bulk: ConfigurationBulk, made: Sequence[Configuration], handling: Handling) -> None:
        """Record the answers and the message as handled, take the names, let go of the items: all or none.

        Raises CONCURRENT_CHANGE, also where a name was taken meanwhile.
        """
        ...


class Turn(msgspec.Struct, frozen=True):
    """An instant of a schedule that has come. `now`: the database's time; `timer`: the record's own."""

    configuration_id: str
    due_at: datetime
    now: datetime
    timer: object


class Planning(msgspec.Struct, frozen=True):
    """What a plan is made by: the database's time, and the instant that a configuration waits for."""

    now: datetime
    waits_for: datetime | None = None


class Turns(Protocol):
    """What falls due. With each version of a configuration its next instant is set, in the same transaction."""

    async def look(self, configuration_id: str) -> Planning:
        """Where a configuration's schedule stands. Raises UNAVAILABLE."""
        ...

    async def configuration(self, configuration_id: str) -> Configuration | None:
        """What an instant is of. Raises EVENT_UNREADABLE, UNAVAILABLE."""
        ...

    async def is_dealt_with(self, due: DueBackup) -> bool:
        """Whether the record has it."""
        ...

    async def record(
        self,
        turn: Turn,
        configuration: Configuration | None,
        due: DueBackup | None = None,
        *,
        next_run_at: datetime | None,
        waits_for: datetime | None = None,
    ) -> None:
        """Record what is pending of the two, and that the next instant is waited for: all or none.

        `waits_for`: the instant, where it is looked at later than it was. Raises CONCURRENT_CHANGE, UNAVAILABLE; where
        the instant is another's by now, nothing is recorded, and that is told by the record's own error.
        """
        ...


class Weddings(Protocol):
    """Dates of weddings, which are sealed."""

    async def near(self, organisation: str, body: ConfigurationBody) -> date | None:
        """The wedding around which a configuration's schedule is denser; None where there is none, or it was erased.

        One that cannot be read now may be any: then it is today.
        """
        ...
