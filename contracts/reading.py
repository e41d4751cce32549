"""Reading what a newer build has written, within a version: unknown fields are left out, unknown members are `unknown`.

Promise: what fits exactly is read at full speed. What does not is read a second time without the fields that this
build does not know, and with a member of a `Growing` enum that it does not know as `UNKNOWN`. Everything else that
does not fit (a missing field, a wrong type) still raises `msgspec.ValidationError`.

Only readers of messages and of what was stored use this. What people send, and what is published, fits exactly.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache, partial
from threading import Lock
from typing import Any, Self, TypeVar, cast

import msgspec
from msgspec import inspect

T = TypeVar("T")
Look = Callable[[Any], None]

UNKNOWN = "unknown"
_MAKING = Lock()
_TOLERANT: ContextVar[bool] = ContextVar("tolerant", default=False)


_MET: ContextVar[set[str] | None] = ContextVar("met", default=None)


@contextmanager
def unknown_members() -> Iterator[set[str]]:
    """Which members are met meanwhile that this build does not know, each as `ENUM:member`."""
    met: set[str] = set()
    token = _MET.set(met)
    try:
        yield met
    finally:
        _MET.reset(token)


def is_known_member(named: str) -> bool:
    """Whether this build knows a member that another one has met as unknown."""
    name, _, value = named.partition(":")
    return any(cls.__name__ == name and value in set(cls) for cls in Growing.__subclasses__())


class Growing(StrEnum):
    """An enum whose next member may be added within a version. A reader meets one that it does not know as `unknown`.

    `unknown` is none of the members: it equals no other, nobody can send it and it is never published.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not _TOLERANT.get() or not isinstance(value, str):
            return None
        met = _MET.get()
        if met is not None:
            met.add(f"{cls.__name__}:{value}")
        unknown: Self = _unknown_of(cls, value)
        return unknown


@lru_cache(maxsize=256)
def _unknown_of(cls: type[Growing], value: str) -> Any:
    member: Any = str.__new__(cls, UNKNOWN)
    member._name_ = UNKNOWN.upper()
    member._value_ = UNKNOWN
    member._written_ = value
    return member


def written_as(member: Growing) -> str:
    """How a member was written, also one that this build has met as `unknown`: two of those stay two."""
    return str(getattr(member, "_written_", member.value))


def decoder_of(cls: type[T]) -> msgspec.json.Decoder[T]:
    """The one decoder of a type that is known only when it is asked for. Thread-safe.

    A type completes itself when it is decoded for the first time, and the process crashes where two threads do that at
    once. So decoders are made when a module is imported or, where that cannot be, here, one after the other.
    """
    return cast("msgspec.json.Decoder[T]", _decoder_of(cast("Hashable", cls)))


@cache
def _decoder_of(cls: Hashable) -> msgspec.json.Decoder[Any]:
    return new_decoder(cls)


def new_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The same where it is not kept, of a type that need not be hashable."""
    with _MAKING:
        return msgspec.json.Decoder(kind)


def read_json(data: bytes | str | msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """What JSON says, as far as the decoder's type knows it. Raises msgspec.MsgspecError."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return _read_known(msgspec.json.decode(data), decoder.type)


def read_plain(value: Any, cls: type[T]) -> T:
    """The same for JSON values that are decoded already."""
    decoder_of(cls)  # completes the type
    try:
        return msgspec.convert(value, cls)
    except msgspec.ValidationError:
        return _read_known(value, cls)


def _read_known(value: Any, cls: type[T]) -> T:
    with _tolerant():
        return msgspec.convert(_known(value, _shape_of(cast("Hashable", cls))), cls)


@contextmanager
def _tolerant() -> Iterator[None]:
    token = _TOLERANT.set(True)
    try:
        yield
    finally:
        _TOLERANT.reset(token)


@cache
def _shape_of(cls: Hashable) -> inspect.Type:
    return inspect.type_info(cls)


def _known(value: Any, shape: inspect.Type) -> Any:
    """A value without the fields that its type does not have; what does not fit at all is left for the conversion."""
    match shape:
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in shape.fields}
            known = {name: _known(item, fields[name]) for name, item in value.items() if name in fields}
            return {**known, shape.tag_field: value[shape.tag_field]} if shape.tag_field in value else known
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            return [_known(item, shape.item_type) for item in value]
        case inspect.DictType() if isinstance(value, dict):
            return {name: _known(item, shape.value_type) for name, item in value.items()}
        case inspect.UnionType() if value is not None:
            # Contracts know one kind of union: something or None.
            others = [each for each in shape.types if not isinstance(each, inspect.NoneType)]
            return _known(value, others[0]) if len(others) == 1 else value
        case _:
            return value


def require_in_calendar(value: Any, cls: Hashable) -> None:
    """Raise msgspec.ValidationError where a moment in a value of this type is none in UTC.

    A database takes it, and whoever asks for it gets an error ever after: one such value would cost all that are read
    with it.
    """
    look = _look_for_moments(cls)
    if look is not None:
        look(value)


def is_in_calendar(moment: datetime) -> bool:
    """Whether a moment is one in every time zone."""
    return 1 < moment.year < 9999


@cache
def _look_for_moments(cls: Hashable) -> Look | None:
    return _look_of(_shape_of(cls))


def _look_of(shape: inspect.Type) -> Look | None:
    """What looks at each moment of values of this shape; None where they have none."""
    look: Look | None = None
    match shape:
        case inspect.DateTimeType():
            look = _require_moment
        case inspect.StructType():
            looks = [(field.name, found) for field in shape.fields if (found := _look_of(field.type)) is not None]
            look = partial(_of_fields, looks) if looks else None
        case inspect.ListType() | inspect.VarTupleType() if (found := _look_of(shape.item_type)) is not None:
            look = partial(_of_items, found)
        case inspect.DictType() if (found := _look_of(shape.value_type)) is not None:
            look = partial(_of_values, found)
        case inspect.UnionType():
            # Contracts know one kind of union: something or None.
            for each in shape.types:
                if (found := _look_of(each)) is not None:
                    look = partial(_where_given, found)
    return look


def _require_moment(moment: datetime) -> None:
    if not is_in_calendar(moment):
        raise msgspec.ValidationError("a moment lies at an end of the calendar")


def _of_fields(looks: Sequence[tuple[str, Look]], value: Any) -> None:
    for name, look in looks:
        look(getattr(value, name))


def _of_items(look: Look, value: Any) -> None:
    for item in value:
        look(item)


def _of_values(look: Look, value: Any) -> None:
    _of_items(look, value.values())


def _where_given(look: Look, value: Any) -> None:
    if value is not None:
        look(value)
