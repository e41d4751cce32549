"""The commit log of one tier: numbered entries, created conditionally, chained and signed. (Signatures first.)"""

from __future__ import annotations

from typing import NamedTuple


class Head(NamedTuple):
    """The last entry of a log: its number (0: none) and the SHA-256 of its bytes."""

    number: int
    digest: bytes
