"""What the inside of the config service needs of the outside."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from chassis.context import Context
from contracts.configuration_rules import KnownLocation
from services.config.domain import Configuration


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """The message whose effect is being recorded."""

    consumer: str
    event_id: str


class LocationRegistry(Protocol):
    """The places that operators have registered."""

    async def known(self, names: Iterable[str], organisation: str) -> Mapping[str, KnownLocation]:
        """Those of some locations that the organisation may use, by name. One that does not answer is told soon."""
        ...


class Configurations(Protocol):
    """The record of configurations."""

    async def record_created(self, configuration: Configuration, *, context: Context, handled: Handled) -> None:
        """Record a creation, its name as taken and the message as handled: all or none.

        Raises `ConfigurationNameTaken` where another configuration of the organisation has the name's digest.
        """
        ...

    async def record_refused(self, configuration: Configuration, *, context: Context, handled: Handled) -> None:
        """Record a refusal and the message as handled."""
        ...
