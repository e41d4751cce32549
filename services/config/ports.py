"""What the inside of the config service needs of the outside."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from chassis.deciding import Things
from contracts.configuration_rules import KnownLocation
from services.config.domain import Configuration


class LocationRegistry(Protocol):
    """The places that operators have registered."""

    async def known(self, names: Iterable[str], organisation: str) -> Mapping[str, KnownLocation]:
        """Those of some locations that the organisation may use, by name. One that does not answer is told soon."""
        ...


class Configurations(Things[Configuration], Protocol):
    """The record of configurations. With each version its name is taken.

    `record_answer` raises `ConfigurationNameTaken` where another configuration of the organisation has its digest.
    """
