"""How commands speak: sizes, times and columns for people, one JSON document for machines, names that cannot do harm.

A file's name may hold any byte but a slash and zero, escape sequences of a terminal included: `shown` writes
what is not printable as a backslash, an x and two hexadecimal digits. In JSON a name is such a string too; where
it is not the name's exact text, a second field with `_bytes` at the end of its name gives the bytes in base64.
"""

import base64
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def shown(name: bytes) -> str:
    r"""The name in UTF-8 where it is that and printable; every other byte as `\xNN`."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def name_fields(field: str, name: bytes) -> dict[str, str]:
    """The name as JSON fields: its text, and its bytes too where the text does not tell them."""
    text = shown(name)
    if text.encode("utf-8", "surrogatepass") == name and "\\x" not in text:
        return {field: text}
    return {field: text, f"{field}_bytes": base64.b64encode(name).decode("ascii")}


def size(count: float) -> str:
    """Bytes with a binary unit and three digits: `1.21 GiB`."""
    unit = 0
    while abs(count) >= 1000 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    if unit == 0:
        return f"{count:.0f} B"
    digits = 2 if abs(count) < 10 else 1 if abs(count) < 100 else 0
    return f"{count:.{digits}f} {_UNITS[unit]}"


def percent_saved(new: int, stored: int) -> str:
    """What compression has saved; below nothing where framing outweighs it. Empty of nothing."""
    text = f"{100 * (1 - stored / new):.1f}" if new else ""
    return "0.0" if text == "-0.0" else text


def moment(time_ns: int) -> str:
    """Nanoseconds since 1970 as a time in UTC, to the second."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def timestamp(time_ns: int) -> str:
    """The same for machines, in ISO 8601 with all nanoseconds."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z"


def duration(seconds: float) -> str:
    """`0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


_spoken_at = time.monotonic()


def note_spoken() -> None:
    """Something was shown just now."""
    global _spoken_at  # there is one person who waits, whoever speaks
    _spoken_at = time.monotonic()


def silence_seconds() -> float:
    """For how long nothing was shown."""
    return time.monotonic() - _spoken_at


def say(text: str = "") -> None:
    """A line on standard output, at once also in a pipe. What the encoding lacks is replaced, never an error."""
    note_spoken()
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def say_json(document: object) -> None:
    """The one JSON document of a command, in one line."""
    print(json.dumps(document, ensure_ascii=True, separators=(",", ":")))


def as_documents(found: Sequence[object]) -> list[dict[str, object]]:
    """Structures as a part of such a document."""
    import msgspec

    return [msgspec.to_builtins(each) for each in found]


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Rows of cells as lines with aligned columns; the columns numbered in `right` are aligned to the right."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines
