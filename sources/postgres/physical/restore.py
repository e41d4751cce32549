"""Restores a cluster's snapshot into a new data folder, from which a server of the same major version starts.

Promise: whether the wanted place can be reached is decided, and refused where not, before the folder is touched; what
the server will reach is told exactly, since the log that it gets ends there.
"""

import os
import time
from typing import Final

import msgspec

from repository.errors import Damaged, RestoreRefused
from repository.opened.repository import Repository
from repository.progress import Ticker
from repository.restore.options import Conflict, RestoreOptions, RestoreResult
from repository.restore.path_filter import PathFilter
from repository.restore.snapshot_walk import root_entry
from repository.retention.pins import pinned
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry
from sources.postgres.physical.layout import DataFolder
from sources.postgres.physical.record import BASE, FORMAT, Base, shown_position
from sources.restoring import Restoring

_BASE: Final = msgspec.json.Decoder(Base)


def restore_to_cluster(
    repository: Repository, snapshot: Snapshot, path: str, *, options: RestoreOptions
) -> RestoreResult:
    """Restore a cluster's snapshot into a folder that is absent or empty, of which a server becomes one.

    Raises `RestoreRefused` (nothing was touched), `TargetFailed`, `RestoreCancelled`, and what keeps the snapshot from
    being read.
    """
    with pinned(repository, "restore", [snapshot.id], only=options.tiers) as pinning:
        result = _Restore(repository, snapshot, options, path).run()
        result.unpinned = pinning.words()
    return result


class _Restore(Restoring):
    """One restore."""

    def __init__(self, repository: Repository, snapshot: Snapshot, options: RestoreOptions, path: str) -> None:
        super().__init__(repository, snapshot, options)
        self._repository = repository
        self._folder = DataFolder(path, check=self._check)

    def run(self) -> RestoreResult:
        """All of it."""
        started = time.monotonic()
        if self._options.globs or self._options.conflict is not Conflict.REFUSE:
            raise RestoreRefused(
                "a cluster is restored as a whole, into a folder of its own",
                hint="Leave --path and --on-conflict out. Single tables come back from a server that runs on what was "
                "restored, or from a snapshot of a database (repo backup postgres://…).",
            )
        entry = self._entry()
        base = _base_of(entry)
        self._folder.refuse_unless_free()
        self._found_files, self._found_bytes, self._is_walked = 1, entry.stat.size, True
        ticker = Ticker(self._options.on_progress, self._progress)
        ticker.start()
        try:
            self._folder.unpack(self._pieces_of(entry))
            self._folder.finish(base.settings, owner=self._owner())
        finally:
            ticker.stop()
        self._result.files = self._folder.files
        self._result.bytes = self._folder.bytes
        self._result.reached = {
            "lsn": shown_position(base.stop),
            "timeline": base.timeline,
            "server_version": base.server // 10_000,
        }
        self._result.seconds = time.monotonic() - started
        return self._result

    def _owner(self) -> tuple[int, int] | None:
        """Whose the folder was: a server refuses to start on another user's."""
        if os.geteuid():
            return None
        found = self._folder.path.stat()
        return found.st_uid, found.st_gid

    def _entry(self) -> Entry:
        for step in self._walk(PathFilter()).steps(root_entry(self._snapshot, self._reader.chunk)):
            if step.path == BASE and step.entry.is_file and step.entry.content is not None:
                return step.entry
        raise Damaged("the snapshot holds no base backup", snapshot=self._snapshot.id[:12])


def _base_of(entry: Entry) -> Base:
    try:
        base = _BASE.decode(entry.extra.attributes.get("base", ""))
    except msgspec.MsgspecError as error:
        raise Damaged("what the base backup says of itself cannot be understood") from error
    if base.format > FORMAT:
        raise RestoreRefused("the base backup is of a newer version", hint="Restore it with the newest version.")
    return base
