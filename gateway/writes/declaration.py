"""A write, declared once: what is asked for, who may, what answers it, and what may be wrong with it.

A subclass of `Write` in the module `writes` of a group is a whole endpoint. From it follow the route with its guards,
idempotency, recording, waiting, the pending answer and the problems (`gateway.endpoints`), the read model of
requests (`gateway.writes.projection`), its part of the OpenAPI document with examples, and its tests
(`tests/component/gateway/test_declared_writes.py`). ARCHITECTURE.md tells how to add one.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

from litestar import Response

from chassis.clock import Clock
from chassis.locations import Locations
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.gateway_events import Evidence
from contracts.refusal import Refusal
from gateway import found
from gateway.auth.principal import Principal
from gateway.auth.rights import Right
from gateway.http.web import BODY_BYTES_MAX
from gateway.openapi.operation import Answer
from gateway.projections.applied import Database
from gateway.writes.things import Thing

API_PREFIX = "/api/backup"

B = TypeVar("B")


class Means(Protocol):
    """What a write is looked at with: of the gateway's parts those that a declaration may use."""

    @property
    def sealer(self) -> Sealer:
        """Seals what may be personal."""

    @property
    def locations(self) -> Locations:
        """What operators have registered."""

    @property
    def clock(self) -> Clock:
        """What time it is."""

    def reading(self, organisation: str) -> AbstractAsyncContextManager[Database]:
        """A connection to read the read models on. Raises TOO_MANY_REQUESTS or UNAVAILABLE."""


@dataclass(frozen=True, slots=True)
class Asked(Generic[B]):
    """A write as it arrives. `target`: the id in the path, or empty; `body`: what came, or None.

    `seen`: the version of the target that whoever asks has seen (`If-Match`), where the write is of one.
    """

    gateway: Means
    principal: Principal
    target: str
    body: B
    seen: int | None = None

    @property
    def organisation(self) -> str:
        """Whose it is."""
        return self.principal.organisation

    @property
    def expected(self) -> dict[str, int]:
        """What its request event says of the version that was seen."""
        return {} if self.seen is None else {"expected_version": self.seen}


@dataclass(frozen=True, slots=True)
class New:
    """What a write gets as it is taken down. `resource_id`: of what it makes, or of what it is about.

    `bulk_id`: of an item the request that it is of.
    """

    request_id: str
    resource_id: str
    evidence: Evidence
    bulk_id: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A write that was looked at. `event` makes its request event.

    `body`: as it is compared with the next of the same key, where that is not the body that came. `wrong`: why it can
    never succeed, each field by an error of its own; then it is not recorded. `items`: the events of what it asks for
    at once (`Write.ITEMS`), which are recorded before its own.
    """

    event: Callable[[New], Event]
    body: Any = None
    wrong: Sequence[PlatformError] = ()
    items: Sequence[Callable[[New], Event]] = ()


class Versioned(Protocol):
    """A thing that is kept as versions, as it is shown."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def version(self) -> int:
        """The one in force."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """What was accepted is in force no longer: something has made it this `version` since."""

    version: int


@dataclass(frozen=True, slots=True)
class Items:
    """What a write asks for several of at once. `of`: the write that asks for one of them.

    `submitted`: the event of one, `refused`: of one that is refused before its owner is asked. Both have the ids of a
    request of its own and of what it makes, and `bulk_id` and `position`.
    """

    of: "type[Write[Any]]"
    submitted: type[Event]
    refused: type[Refusal]


class Write(Generic[B]):
    """One write of the API. The docstring of a subclass is its description.

    `PATH`: below `API_PREFIX`; with the id of `OF` (`{execution_id:str}`, named as where it is read) it is about
    something that is there, unless it `MAKES` another thing of that; what is made gets a new id. `REMOVES`: nobody
    finds the thing afterwards. `OF`: the kind of thing that it is about or makes. `IF_MATCH`: whether it is of the
    version that whoever asks has seen. `BODY`: the type of what is sent, `EXAMPLE`: one, with its name. `REFUSALS`:
    what the gateway or the owner may say no with, beside what every write of this kind may. `SECOND_FACTOR`: whether
    it always takes a recent second factor; where only what is there tells, the owner asks for one, by the evidence in
    the request (`SECOND_FACTOR_NEEDED` in `REFUSALS`). `ITEMS`: where it asks for several things at once. `TAKEN`: as
    what a body is read, where parts of it are read by `draft`; `BODY_BYTES`: how long it may be. `ANSWERS`: successful
    answers beside the 202 that every write may have.

    What makes something or has a body drafts its request event itself (`draft`).
    """

    NAME: ClassVar[str]
    SUMMARY: ClassVar[str]
    METHOD: ClassVar[Literal["POST", "PUT", "PATCH", "DELETE"]] = "POST"
    PATH: ClassVar[str]
    OF: ClassVar[Thing]
    MAKES: ClassVar[bool] = False
    REMOVES: ClassVar[bool] = False
    IF_MATCH: ClassVar[bool] = False
    RIGHT: ClassVar[Right]
    SECOND_FACTOR: ClassVar[bool] = False
    BODY: ClassVar[Any] = None
    TAKEN: ClassVar[Any] = None
    BODY_BYTES: ClassVar[int] = BODY_BYTES_MAX
    EXAMPLE: ClassVar[tuple[str, Any] | None] = None
    ITEMS: ClassVar[Items | None] = None
    REQUEST: ClassVar[type[Event]]
    ACCEPTED: ClassVar[type[Event]]
    REFUSED: ClassVar[type[Refusal]]
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = ()
    ANSWERS: ClassVar[tuple[Answer, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.draft is Write.draft and (cls.MAKES or cls.BODY is not None or "{" not in cls.PATH):
            raise TypeError(f"{cls.__name__} makes something or has a body: it has to draft its request event itself")

    async def draft(self, asked: Asked[B]) -> Draft:
        """Look at a write before it is taken down. Raises what it cannot be about; tells what is wrong with it.

        Here: of a thing that is there, whatever it is at. The request event says no more than who asks, and of what.
        """
        async with asked.gateway.reading(asked.organisation) as database:
            await self.OF.check(database, asked.organisation, asked.target)

        def event(new: New) -> Event:
            said = {"request_id": new.request_id, self.OF.about: new.resource_id, "evidence": new.evidence}
            return self.REQUEST(**said, **asked.expected)

        return Draft(event)

    async def shown(self, asked: Asked[B], resource_id: str) -> Response[Any] | Superseded | None:  # noqa: ARG002  # most answer 202
        """The answer to an accepted write, where it is not the request itself. Raises where it cannot be read.

        Superseded where the thing is at another version by now: whoever asked gets no ETag of what they have not seen.
        """
        return None

    def in_force(self, asked: Asked[B], made: Versioned) -> Response[Any] | Superseded:
        """The thing, if it is what was accepted: the version after what was seen."""
        if made.version != (asked.seen or 0) + 1:
            return Superseded(made.version)
        headers = {"Location": self.resource_path(made.id), "ETag": f'"{made.version}"'}
        return Response(made, status_code=self.ANSWERS[0].status, headers=headers)

    @property
    def operation(self) -> str:
        """The name of its handler."""
        return self.NAME.replace("-", "_")

    @property
    def route(self) -> str:
        """What it is called in the table of idempotency keys: never changed, or keys would be forgotten."""
        return f"{self.METHOD} {API_PREFIX}{self.PATH.replace(self.OF.about, 'resource_id')}"

    @property
    def group(self) -> str:
        """The group of the API, by the folder where it is declared."""
        return type(self).__module__.split(".")[-2].replace("_", " ").capitalize()

    @property
    def refusals(self) -> tuple[ErrorCode, ...]:
        """What it may be refused with, beside what every write may."""
        missing = (self.OF.missing,) if self.is_targeted else ()
        changed = (errors.IF_MATCH_MISSING, errors.VERSION_CONFLICT) if self.IF_MATCH else ()
        proven = (errors.SECOND_FACTOR_NEEDED,) if self.SECOND_FACTOR else ()
        return (*missing, *changed, *proven, *self.REFUSALS)

    @property
    def is_targeted(self) -> bool:
        """Whether it is about something that is there already."""
        return "{" in self.PATH

    def resource_path(self, resource_id: str) -> str:
        """Where its result is found."""
        return f"{API_PREFIX}{self.OF.path.format(resource_id)}"


@cache
def declared() -> dict[str, Write[Any]]:
    """Every write by its name."""
    every = (
        value()
        for module in found.modules("writes")
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Write) and value.__module__ == module.__name__
    )
    return {write.NAME: write for write in sorted(every, key=lambda write: write.NAME)}


@cache
def accepting() -> frozenset[str]:
    """The names of the facts by which an owner says yes."""
    return frozenset(write.ACCEPTED.NAME for write in declared().values())
