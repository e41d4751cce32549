"""What `wedsync-backup` says to a script. A number never changes its meaning (docs/repository-cli.md).

An error carries a `code`; the first part of this table that names it decides. What is not in the
table is decided by the error's `retry`: `later` ends with `UNAVAILABLE`, all else with `FAILED`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INCOMPLETE = 3
    DEGRADED = 4
    DAMAGED = 5
    WRONG_KEY = 6
    NOT_FOUND = 7
    UNAVAILABLE = 8
    REFUSED = 9
    DIFFERENT = 10
    INTERRUPTED = 130


def code_of(error: BaseException) -> str | None:
    """The stable name of an error, from the repository or from the platform, without importing either."""
    code = getattr(error, "code", None)
    name = getattr(code, "code", code)
    return name if isinstance(name, str) else None


_BY_CODE: dict[str, ExitCode] = {}


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of a command that ended with this error."""
    known = _BY_CODE.get(code_of(error) or "")
    if known is not None:
        return known
    retry = getattr(error, "retry", None)
    return ExitCode.UNAVAILABLE if str(retry) == "later" else ExitCode.FAILED
