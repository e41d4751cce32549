"""What is wrong with a file that somebody has written: by the names that stand in it, and not by a library's."""

import re

import msgspec

_AT = re.compile(r" - at `(?:key in )?\$\.?(?P<path>[^`]*)`\Z")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_EXPECTED = re.compile(r"Expected `(?P<kind>[a-z]+)")
_KINDS = {"str": "a text", "int": "a whole number", "array": "a list", "object": "an object", "bool": "true or false"}
_BYTE = re.compile(r"\(byte (\d+)\)")


def misread(error: Exception) -> str:
    """In words: an `OSError`, or what a decoder of JSON raises (`MsgspecError`, `ValueError`, `RecursionError`)."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "it has bytes that are no UTF-8"
    said = str(error)
    if not isinstance(error, msgspec.ValidationError):
        at = _BYTE.search(said)
        return "it ends in the middle" if at is None else f"it is no JSON from byte {at[1]} on"
    found = _AT.search(said)
    place = found["path"] if found else ""
    for pattern, words in ((_MISSING, "{} is missing"), (_UNKNOWN, "there is no field {}")):
        if (named := pattern.match(said)) is not None:
            return f"{place}: {words.format(named['name'])}" if place else words.format(named["name"])
    kind = _EXPECTED.match(said)
    rule = _KINDS.get(kind["kind"], "another value") if kind else "another value"
    return f"{place or 'the whole of it'} has to be {rule}"
