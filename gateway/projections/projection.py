"""What a read model is: a class with a name and a version, that makes tables of its own from facts.

A projection is found by itself: a module `projection` of a room or a group with a subclass of `Projection` is enough.
Each has its tables twice: those that answer, and their shadows (`<table>_shadow`, of equal shape, in `gateway.schema`),
in which a new or changed one is built while the old one answers (`gateway.projections.shadow`). An instance writes one
of the two sides.

Change `VERSION` with every change of what is written: the next start builds it anew from the streams.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar, LiteralString

import msgspec
from psycopg.sql import SQL, Identifier

from contracts.event import Event
from gateway import found
from gateway.projections.applied import Applied, Database


class Side(StrEnum):
    """Which tables: those that answer, or those that are being built."""

    LIVE = "live"
    SHADOW = "shadow"

    @property
    def suffix(self) -> str:
        """What the tables of this side have behind their names."""
        return "" if self is Side.LIVE else "_shadow"


class Batch(msgspec.Struct):
    """Events of one stream on their way into projections, in one transaction.

    `sequence`: the number behind which new facts are numbered. `behind`: how many messages of the stream are known to
    follow. Projections add what others need of them: how many facts they have `numbered`, and in `unreadable` the
    projections of which a stored view could not be read: these are to be made anew.
    """

    events: Sequence[Applied]
    sequence: int
    behind: int = 0
    numbered: int = 0
    configuration_of: dict[str, str] = msgspec.field(default_factory=dict)
    unreadable: dict[str, str] = msgspec.field(default_factory=dict)


class Projection(ABC):
    """One read model. `NEEDS` names projections that are applied before it, since it uses what they find."""

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    EVENTS: ClassVar[tuple[type[Event], ...]]
    TABLES: ClassVar[tuple[str, ...]]
    NEEDS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, side: Side) -> None:
        self.side = side

    @classmethod
    def made_by(cls) -> str:
        """What says of a table that this version of it was at work."""
        return f"{cls.NAME}/{cls.VERSION}"

    def sql(self, statement: LiteralString) -> bytes:
        """A statement with the names of this side's tables in place of `{table}`."""
        names = {table: Identifier(table + self.side.suffix) for table in self.TABLES}
        return SQL(statement).format(**names).as_bytes(None)

    @abstractmethod
    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""

    async def take_over(self, database: Database) -> None:  # noqa: B027  # most have nothing to bring
        """Bring into the shadow what only the live tables have, while both are locked, before they change places."""

    async def forget_old(self, database: Database, sequence: int) -> None:  # noqa: B027  # most keep everything
        """Let go of what is too old to be shown, now and then."""


@cache
def catalogue() -> dict[str, type[Projection]]:
    """Every projection by its name, in an order in which they can be applied."""
    found.modules("projection")
    every: list[type[Any]] = sorted(Projection.__subclasses__(), key=lambda cls: (len(cls.NEEDS), cls.NAME))
    return {cls.NAME: cls for cls in every}


def with_needs(names: Sequence[str]) -> list[str]:
    """Projections with those that they need, in an order in which they can be applied."""
    wanted = {*names, *(need for name in names for need in catalogue()[name].NEEDS)}
    return [name for name in catalogue() if name in wanted]


def instances(names: Sequence[str], side: Side) -> list[Projection]:
    """Projections that write one side."""
    return [catalogue()[name](side) for name in names]


@cache
def projected() -> frozenset[type[Event]]:
    """The events that any projection is made from, in their newest version."""
    return frozenset(event for cls in catalogue().values() for event in cls.EVENTS)
