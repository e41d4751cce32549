"""Writes a small part of YAML 1.2: mappings, sequences, strings, numbers, booleans and null in block style.

It exists so that `contracts` needs nothing but msgspec; what it writes is read back by a real YAML parser in
the tests.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z$/][A-Za-z0-9 _./$-]*")
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def to_yaml(value: object) -> str:
    """The document."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(str(key))}:", item)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for item in value:
            nested = list(_lines(item))
            yield f"- {nested[0]}"
            yield from (f"  {line}" if line else "" for line in nested[1:])
    else:
        yield _scalar(value)


def _entry(key: str, item: object) -> Iterator[str]:
    if isinstance(item, str) and "\n" in item and _is_block(item):
        yield f"{key} |-"
        yield from (f"  {line}" if line else "" for line in item.split("\n"))
    elif isinstance(item, Mapping | Sequence) and not isinstance(item, str) and item:
        yield key
        yield from (f"  {line}" if line else "" for line in _lines(item))
    else:
        yield f"{key} {_scalar(item)}"


def _is_block(text: str) -> bool:
    """Whether a text survives as a literal block: no odd white space at its edges or line ends."""
    return (
        not text.startswith((" ", "\n"))
        and all(line == line.rstrip() for line in text.split("\n"))
        and text[-1] != "\n"
    )


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS and value == value.strip():
        return value
    # JSON is YAML: quoted strings, numbers, true, false, null, and the empty list and mapping.
    return json.dumps(value, ensure_ascii=False)
