"""Objects of remote tiers that are named by their digest, kept on the local disk.

Promise: what `get` returns has the digest that was asked for, whatever somebody did to the files; what is ours in the
folder takes no more than `bytes_max`, of whichever process it is (of 16 that write at once) and but for what is just
being written, the least recently used go first, and nothing else there is touched; whatever the
disk does (full, read-only, gone) costs the speed that the cache would have given, and nothing else. What lies there is
what lies on the tier: ciphertext.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 2 << 30
_KEPT_SHARE: Final = 0.9
"""Of the bound, what is left after a clearing: so that not every object that comes clears."""
_PROCESSES: Final = 16
"""So many that write at once keep to the bound."""
_OBJECT: Final = "wedsync-"
"""Before the digest: other stores call their files by a bare one, too."""
_TEMPORARY: Final = "wedsync-new-"
_OURS: Final = re.compile(rf"{_OBJECT}[0-9a-f]{{64}}|{_TEMPORARY}[0-9a-f]{{16}}")
"""What may be removed: the folder is one that a setting names, and may hold anything else."""


class LocalCache:
    """One folder of the user's own. Thread-safe; several processes may share it."""

    def __init__(self, folder: str | os.PathLike[str], bytes_max: int = BYTES_MAX) -> None:
        self._folder = Path(folder)
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._unseen = 0
        """Bytes that may still come from here before the folder is looked at again."""
        self.is_usable = self._prepare()

    def _prepare(self) -> bool:
        """A folder that somebody else can write to is not used: he could fill the disk through it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = os.lstat(self._folder)
        except OSError:
            return False
        return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022

    def get(self, digest: bytes, length_max: int) -> bytes | None:
        """The object with this SHA-256, of at most so many bytes; None where it is not here.

        One that is not what its name says is taken away.
        """
        if not self.is_usable:
            return None
        path = self._path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return None
                body = file.read(length_max)
        except OSError:
            return None
        if hashlib.sha256(body).digest() != digest:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return body

    def put(self, digest: bytes, body: bytes) -> None:
        """Keep an object, if the disk takes it."""
        if not self.is_usable or len(body) > self._bytes_max:
            return
        path = self._path(digest)
        temporary = self._folder / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(body)
            with self._lock:
                self._unseen -= len(body)
                if self._unseen < 0:
                    self._make_room(temporary)
            with suppress(FileNotFoundError):  # another process needed the room
                os.replace(temporary, path)
        except OSError:
            # A disk that is full or read-only stays so for a while; nobody waits for it again.
            self.is_usable = False
            with suppress(OSError):
                temporary.unlink()

    def _path(self, digest: bytes) -> Path:
        return self._folder / f"{_OBJECT}{digest.hex()}"

    def _make_room(self, newest: Path) -> None:
        """Clear what is ours beyond the bound, all but `newest`.

        Looked at is the folder, when the new object is in it: what several processes write, the last of them sees. Each
        takes its part of the room that it finds before it looks again, so that `_PROCESSES` of them find it together.
        """
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) is None:
                    continue
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found) if total > self._bytes_max else ():
            if total <= self._bytes_max * _KEPT_SHARE:
                break
            if path == str(newest):
                continue
            with suppress(OSError):
                os.unlink(path)
                total -= size
        self._unseen = (self._bytes_max - total) // _PROCESSES
