"""What is wrong with a body: every field that can be told at once, by its JSON path.

msgspec stops at the first; then each field is decoded by itself, so that whoever sent the body corrects it once.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from contracts.reading import new_decoder
from gateway.http.problems import WrongFields, plain

FIELD_LENGTH_MAX = 200
TOLD_MAX = 50
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for."""

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_AT = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`\Z")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>.*)`\Z")


def invalid_body(body: bytes | str, kind: Any, error: Exception) -> PlatformError:
    """The error for a body that does not decode as `kind`, where msgspec said `error`."""
    if (
        isinstance(error, msgspec.ValidationError)
        and (struct := _struct(kind)) is not None
        and (every := list(_every(body, struct, "")))
    ):
        return WrongFields(every[:TOLD_MAX])
    return _told(error, "")


def require_names_once(body: bytes | str) -> None:
    """Raise INVALID_FIELD where an object of a body that was decoded has a name twice: nobody knows which was meant."""
    json.loads(body, object_pairs_hook=_names_once, parse_int=str, parse_float=str)


def _names_once(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            message = "the body has this field twice in one object"
            raise PlatformError(errors.INVALID_FIELD, message, field=name[:FIELD_LENGTH_MAX])
        seen.add(name)


def _every(body: bytes | str | msgspec.Raw, struct: type[msgspec.Struct], path: str) -> Iterator[PlatformError]:
    try:
        given = _FIELDS.decode(body)
    except UNREADABLE as error:
        yield _told(error, path)
        return
    tag = struct.__struct_config__.tag_field
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in given:
        if name not in known and name != tag:
            yield _unknown(f"{path}{name[:FIELD_LENGTH_MAX]}")
    for name, field in known.items():
        if name not in given:
            if field.required:
                yield _missing(path + name)
        elif (inner := _struct(field.type)) is not None and bytes(given[name]).lstrip()[:1] == b"{":
            yield from _every(given[name], inner, f"{path}{name}.")
        else:
            try:
                new_decoder(field.type).decode(given[name])
            except UNREADABLE as error:
                yield _told(error, path + name)


def _struct(kind: Any) -> type[msgspec.Struct] | None:
    """The one struct that a type is or may be."""
    candidates = [part for part in (kind, *get_args(kind)) if isinstance(part, type)]
    return next((part for part in candidates if issubclass(part, msgspec.Struct)), None)


def _told(error: Exception, path: str) -> PlatformError:
    """What msgspec says about a value at a path, told by the path in the whole body."""
    if isinstance(error, RecursionError):
        return PlatformError(errors.MALFORMED_BODY, "the body is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return PlatformError(errors.MALFORMED_BODY, "the body is not valid JSON")
    text = str(error)
    place = _AT.search(text)
    if place is not None:
        text, path = text[: place.start()], (path + place.group("path")).lstrip(".")
    path = path.rstrip(".")
    inside = f"{path}." if path else ""
    if unknown := _UNKNOWN.match(text):
        return _unknown(inside + unknown.group("name")[:FIELD_LENGTH_MAX])
    if missing := _MISSING.match(text):
        return _missing(inside + missing.group("name"))
    return PlatformError(errors.INVALID_FIELD, plain(text), field=path or None)


def _unknown(field: str) -> PlatformError:
    return PlatformError(errors.UNKNOWN_FIELD, "the body has a field that is not known", field=field)


def _missing(field: str) -> PlatformError:
    return PlatformError(errors.INVALID_FIELD, "the field is missing", field=field)
