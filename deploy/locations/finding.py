"""What a check of a location has found."""

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """One check. `code` and `hint`: of what is not as it should be."""

    check: str
    outcome: Outcome
    detail: str
    code: str | None = None
    hint: str | None = None
