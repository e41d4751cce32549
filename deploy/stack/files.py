"""Writing small files whole: a reader sees the old content or the new, after a crash as well."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

ROOM_BYTES = 1 << 20
"""More than a command writes into a folder of the home."""


_NOT_WRITABLE = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS))


def takes_nothing(error: OSError) -> bool:
    """Whether a disk takes nothing more, whoever writes: no space, a quota, a limit, or it is read-only."""
    return error.errno in _NOT_WRITABLE


def require_room(folder: Path) -> None:
    """Raise the OSError that a change there would meet half-way (a full disk, a quota, a read-only mount)."""
    path = folder / f".room.{secrets.token_hex(4)}"
    try:
        with path.open("xb", buffering=0) as file:
            path.unlink()
            left = ROOM_BYTES
            while left:
                left -= file.write(bytes(left))
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(folder)  # the file that was tried is nobody's
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors of the system that do not: a disk that is full says so at a write, not at a name."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_atomically(path: Path, content: bytes | str, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace a file, readable by its owner alone unless `mode` says otherwise. Raises OSError.

    `durable=False`: a crash of the machine may bring the old content back, or none.
    """
    body = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_new(draft, body, mode, durable=durable)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def write_once(path: Path, content: bytes | str, *, mode: int = 0o600) -> bool:
    """Write a file that must not be there yet, durably; False where it is there, which is left as it is.

    A crash leaves the whole file or none: a secret that is half written would be worse than none.
    """
    body = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_new(draft, body, mode, durable=True)
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return True


def _write_new(path: Path, body: bytes, mode: int, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with _named(path), os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(body)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    # Some file systems cannot sync a folder; the rename itself is whole all the same.
    with contextlib.suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)
