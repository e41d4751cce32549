"""The standard streams of a command: whatever becomes of them, the command does its work and its exit code says how.

Promise: nobody who reads (a pipe that was closed, a terminal that hung up) ends a command or changes its exit code;
output that a file or device refuses (a full disk), or for which there is no standard output at all (`>&-`), ends with
an error, since who redirected it will look there: what nobody was told is no success.
Descriptors 0, 1 and 2 are taken before anything is opened: else a tier's file would get the number of a closed one,
and a message would be written into it.
"""

import errno
import io
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO, TypeVar

Item = TypeVar("Item")

_STANDARD: Final = (0, 1, 2)


class _Outlet(io.FileIO):
    """A descriptor that is written to until it fails; what comes after that is dropped."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, or drop: never an error."""
        if self.failure is None:
            try:
                return super().write(data) or 0
            except OSError as error:
                self.failure = error
        return memoryview(data).nbytes


def secure_streams() -> None:
    """Make the process's own streams such; those that somebody put in their place (a test) stay as they are."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one: the ones before it are taken. What is said by one that was closed is
            # refused, as the system itself would refuse it.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if descriptor == 1 else os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is sys.__stdout__:
        sys.stdout = _secured(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _secured(2, sys.stderr)


def _secured(descriptor: int, stream: TextIO | None) -> TextIO:
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(descriptor, "wb", closefd=False)),
        encoding=(stream.encoding if stream is not None else None) or "utf-8",
        errors=(stream.errors if stream is not None else None) or "backslashreplace",
        line_buffering=descriptor == 2 or bool(stream is not None and stream.line_buffering),
    )


def failure_of_output() -> OSError | None:
    """Why standard output takes no more; None while it does."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Outlet) else None


def is_heard() -> bool:
    """Whether anybody still reads standard output: what only lists may end when nobody does (`… | head`)."""
    return failure_of_output() is None


def heard(lines: Iterable[Item]) -> Iterator[Item]:
    """What there is to list, for as long as anybody reads it."""
    for line in lines:
        if not is_heard():
            return
        yield line


def output_was_refused() -> OSError | None:
    """The failure of standard output where it is one: a reader that left has what it wanted."""
    failure = failure_of_output()
    return None if failure is None or failure.errno == errno.EPIPE else failure
