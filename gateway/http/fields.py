"""The texts, times and ids that bodies and resources are made of, as the schema shows them."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

# What these promise beyond their lengths is judged by who takes them (`submitted.py` of a group), every field at once.
_READABLE = "Visible characters alone: no controls, line separators, bidirectional or zero-width marks."
Printable = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description=f"{_READABLE} Kept in NFC, without white space around it.",
        extra_json_schema={"pattern": r"^(?=.*\S)[^\x00-\x1f\x7f]+$"},
    ),
]
SourcePath = Annotated[
    str,
    Meta(
        max_length=4096,
        description=f"A relative path without `..`; empty for all of the location. {_READABLE}",
        extra_json_schema={"pattern": r"^(?!/)[^\x00-\x1f\x7f]*$"},
    ),
]
PatternText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description=f"A pattern as in a `.gitignore`; `!` before it takes back. {_READABLE}",
        extra_json_schema={"pattern": r"^(?=.*\S)[^\x00-\x1f\x7f]+$"},
    ),
]
TagText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description=f"{_READABLE} Kept in NFC, without white space around it.",
        extra_json_schema={"pattern": r"^(?=.*\S)[^\x00-\x1f\x7f]+$"},
    ),
]
Timestamp = Annotated[datetime, Meta(tz=True)]
Uuid = Annotated[
    str,
    # The length as well: in Python `$` is before a line feed at the end, too, and a schema has no `\Z`.
    Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", min_length=36, max_length=36),
]
