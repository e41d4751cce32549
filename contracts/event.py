"""The base of every event and the registry of pinned names.

An event is defined once, here in `contracts`, as a pure frozen Struct with a pinned name such as
`executor.backup-completed.v1`: owner, what is now true, version. Within a version only optional
fields with a default are added and enums grow (`contracts.reading`); any other change is a new version,
and an upcaster turns the stored old one into the new one when it is read (`chassis.upcasting`). Names
are pinned text, never module paths: moving a file must not orphan history.
"""

from collections.abc import Callable
from typing import ClassVar, TypeVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """Something that is now true. Subclasses are registered with `@pinned(name)`.

    `TAKEN_BY`: the durable consumers of other services, `<service>--<handler>`, that do something about it.
    """

    NAME: ClassVar[str] = ""
    TAKEN_BY: ClassVar[tuple[str, ...]] = ()


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """A part of an event that has no identity of its own."""


E = TypeVar("E", bound=type[Event])
K = TypeVar("K", bound=Event)

_BY_NAME: dict[str, type[Event]] = {}


def pinned(name: str, *, taken_by: tuple[str, ...] = ()) -> Callable[[E], E]:
    """Register an event class under the name that its history is stored under for good.

    `taken_by`: see `Event`. Consumer, filter and permissions follow from it (`contracts.streams`).
    """

    def register(cls: E) -> E:
        if name in _BY_NAME:
            raise ValueError(f"the name {name} is pinned already")
        cls.NAME, cls.TAKEN_BY = name, taken_by
        _BY_NAME[name] = cls
        return cls

    return register


def event_class(name: str) -> type[Event] | None:
    """The class pinned to a name, or None where this build does not know the name."""
    return _BY_NAME.get(name)


def pinned_kinds(base: type[K]) -> tuple[type[K], ...]:
    """Every pinned event of a kind, in the order of definition."""
    return tuple(cls for cls in _BY_NAME.values() if issubclass(cls, base))


def pinned_events() -> dict[str, type[Event]]:
    """Every pinned name with its class, in the order of definition."""
    return dict(_BY_NAME)
