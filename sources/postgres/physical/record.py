"""What is kept of a cluster beside its bytes: what is true of a base backup, as it stands at its entry in the snapshot.

Positions of the log are bytes; as text they are written as Postgres writes them.
"""

from typing import Final

import msgspec

BASE: Final = b"base.tar"
"""The one file of a cluster's snapshot."""
FORMAT: Final = 1


class Base(msgspec.Struct, frozen=True):
    """What is true of a base backup. `begun_us`, `ended_us`: the server's clock since 1970, before and behind it.

    `damaged`: so many pages or files were told to be damaged. `has_checksums`: without them none can be. `settings`:
    what a server that is restored from it has to have at least as high.
    """

    format: int
    system: str
    server: int
    timeline: int
    start: int
    stop: int
    begun_us: int
    ended_us: int
    segment: int
    has_checksums: bool
    damaged: int
    settings: dict[str, str]


def position_of(text: str | None) -> int:
    """A position of the log as Postgres writes it. Raises `ValueError`."""
    high, slash, low = (text or "").partition("/")
    if not slash:
        raise ValueError("this is no position of the log")
    return int(high, 16) << 32 | int(low, 16)


def shown_position(position: int) -> str:
    """A position of the log as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
