"""Log files of the parts, bounded in size: `<part>.log`, and before it `<part>.log.1` to `.3`.

A part writes to its file itself, so that it neither waits for the supervisor nor falls silent with it.
A file that is too long is therefore copied and cut, not renamed; what a part writes between the last
look of the copy and the cut is lost. Parts open their files for appending, so they go on at the new end.
"""

import contextlib
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
    draft = path.with_name(f"{path.name}.new")
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # Nothing older is given up for a copy that a full disk has no room for.
        _copy(descriptor, draft)
        for number in range(kept, 1, -1):
            older = _numbered(path, number - 1)
            if older.exists():
                older.replace(_numbered(path, number))
        draft.replace(_numbered(path, 1))
        os.ftruncate(descriptor, 0)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    return True


def end_of(path: Path) -> int:
    """Where what is written from now on begins; 0 where there is no log yet."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def last_lines(path: Path, count: int, *, since: int = 0) -> list[str]:
    """The last lines of a log, at most its last 256 KiB; none where there is no log.

    `since`: only what lies behind this offset (`end_of`), so that an old failure is not told as the reason of a new
    one. Where the log was cut meanwhile, all that is left of it counts. Raises OSError where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            since = since if since <= end else 0
            start = max(since, end - 256 * 1024)
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    if start > since:
        lines = lines[1:]
    return lines[-count:] if count > 0 else []


def last_words(path: Path, *, since: int) -> str:
    """The end of what a part has said, on one line, to be put behind an error: it names the log, too."""
    try:
        lines = list(dict.fromkeys(line.strip() for line in last_lines(path, 3, since=since) if line.strip()))
    except OSError as error:
        return f" (its log {path} cannot be read: {error.strerror})"
    said = f"; its last words: {' | '.join(lines)}" if lines else "; it said nothing"
    return f"{said} (log: {path})"


def _copy(descriptor: int, to: Path) -> None:
    with open(to, "wb", opener=_private) as copy:
        offset = 0
        while block := os.pread(descriptor, _BUFFER, offset):
            copy.write(block)
            offset += len(block)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
