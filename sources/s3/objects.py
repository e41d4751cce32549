"""The objects that a bucket has listed, as folders with entries: in a table that is on disk where it is large.

Promise: memory is bounded whatever the number of objects; they may come in any order, and from several threads. The
table is a file without a name, which is gone with the process; it lies where `SQLITE_TMPDIR` or `TMPDIR` says.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from repository.backup.source import SourceUnreachable
from sources.s3.keys import BESIDE_FOLDER, path_of

_CACHE_KIB: Final = 16 << 10
_FOLDERS_MAX: Final = 50_000
"""Folders that are remembered as being in the table."""


class Listed(NamedTuple):
    """What a listing says of one object: its size in bytes, its time in seconds since 1970, its ETag."""

    size: int
    time: int
    etag: bytes


class ObjectTable:
    """All objects of one listing. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: set[bytes] = {b""}
        self._table = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        for statement in (
            f"PRAGMA cache_size = -{_CACHE_KIB}",
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE entries (folder BLOB, name BLOB, is_folder INTEGER, size INTEGER, time INTEGER, etag BLOB,"
            " PRIMARY KEY (folder, name, is_folder)) WITHOUT ROWID",
        ):
            self._table.execute(statement)

    def add(self, found: Iterable[tuple[bytes, Listed]]) -> None:
        """Put objects in, by key. One that is listed twice counts as what it was the last time."""
        rows = []
        with self._lock:
            for key, listed in found:
                folder, _, name = path_of(key).rpartition(b"/")
                rows.append((folder, name, 0, *listed))
                while folder not in self._folders:
                    if len(self._folders) >= _FOLDERS_MAX:
                        self._folders = {b""}
                    self._folders.add(folder)
                    folder, _, name = folder.rpartition(b"/")
                    rows.append((folder, name, 1, 0, 0, b""))
            try:
                self._table.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?)", rows)
            except sqlite3.Error as error:
                raise _no_room(error) from error

    def names(self, folder: bytes) -> list[bytes]:
        """The names of a folder's entries, ascending."""
        found = self._asked("SELECT name, is_folder FROM entries WHERE folder = ? ORDER BY name, is_folder", (folder,))
        names: list[bytes] = []
        for name, is_folder in found:
            if is_folder and names and names[-1] == name:
                names[-1] = name + BESIDE_FOLDER
            names.append(name)
        return sorted(names)

    def rows(self, folder: bytes, names: Sequence[bytes]) -> list[Listed | None]:
        """Of each of these names what was listed; None for a folder."""
        plain = [name.removesuffix(BESIDE_FOLDER) for name in names]
        found = self._asked(
            "SELECT name, size, time, etag FROM entries WHERE folder = ? AND name BETWEEN ? AND ? AND is_folder = 0",
            (folder, min(plain), max(plain)),
        )
        listed = {name: Listed(size, time, etag) for name, size, time, etag in found}
        folders = {
            name
            for (name,) in self._asked(
                "SELECT name FROM entries WHERE folder = ? AND name BETWEEN ? AND ? AND is_folder = 1",
                (folder, min(plain), max(plain)),
            )
        }
        return [
            None if name == own and own in folders else listed.get(own) for name, own in zip(names, plain, strict=True)
        ]

    def _asked(self, question: str, values: tuple[bytes, ...]) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock:
            try:
                return self._table.execute(question, values).fetchall()
            except sqlite3.Error as error:
                raise _no_room(error) from error


def _no_room(error: sqlite3.Error) -> SourceUnreachable:
    return SourceUnreachable(
        "the list of the bucket's objects cannot be kept",
        hint="Make room where temporary files lie, or name another folder as TMPDIR: about 200 bytes an object.",
        reason=getattr(error, "sqlite_errorname", type(error).__name__),
    )
