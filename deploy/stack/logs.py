"""Log files of the parts, bounded in size: `<part>.log`, and before it `<part>.log.1` to `.3`.

A part writes to its file itself, so that it neither waits for the supervisor nor falls silent with it.
A file that is too long is therefore copied and cut, not renamed; what a part writes between the last
look of the copy and the cut is lost. Parts open their files for appending, so they go on at the new end.
"""

import os
from pathlib import Path

MAX_BYTES = 16 * 1024 * 1024
KEPT = 3
_BUFFER = 1024 * 1024


def rotate(path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> bool:
    """Move a log aside where it is too long; whether it was. Raises OSError."""
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept, 1, -1):
        older = _numbered(path, number - 1)
        if older.exists():
            older.replace(_numbered(path, number))
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with open(_numbered(path, 1), "wb", opener=_private) as copy:
            offset = 0
            while block := os.pread(descriptor, _BUFFER, offset):
                copy.write(block)
                offset += len(block)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    return True


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, at most its last 256 KiB; none where there is no log."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(0, file.tell() - 256 * 1024)
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    if start:
        lines = lines[1:]
    return lines[-count:] if count > 0 else []


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
