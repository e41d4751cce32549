"""Restores a cluster's snapshot into a new data folder, from which a server of the same major version starts.

Promise: whether the wanted place can be reached is decided, and refused where not, before the folder is touched; what
the server will reach is told exactly, since the log that it gets ends there.
"""

import os
import time

from repository.errors import Damaged, RestoreRefused
from repository.opened.repository import Repository
from repository.progress import Ticker
from repository.restore.options import Conflict, RestoreOptions, RestoreResult
from repository.restore.path_filter import PathFilter
from repository.restore.snapshot_walk import root_entry
from repository.retention.pins import pinned
from repository.stored.snapshot import Snapshot
from repository.stored.tree import Entry
from sources.postgres.physical.layout import DataFolder, Log
from sources.postgres.physical.reach import Reach, Wanted, parts_of, reach
from sources.postgres.physical.record import BASE, Base, base_of, shown_position
from sources.restoring import Restoring


def restore_to_cluster(
    repository: Repository,
    snapshot: Snapshot,
    path: str,
    *,
    options: RestoreOptions,
    wanted: Wanted | None = None,
) -> RestoreResult:
    """Restore a cluster's snapshot into a folder that is absent or empty, of which a server becomes one.

    `wanted`: go on behind the snapshot, as far as its log was received and as is wanted.
    Raises `RestoreRefused` (nothing was touched), `TargetFailed`, `RestoreCancelled`, and what keeps the snapshot from
    being read.
    """
    with pinned(repository, "restore", [snapshot.id], only=options.tiers) as pinning:
        result = _Restore(repository, snapshot, options, path, wanted).run()
        result.unpinned = pinning.words()
    return result


class _Restore(Restoring):
    """One restore."""

    def __init__(
        self,
        repository: Repository,
        snapshot: Snapshot,
        options: RestoreOptions,
        path: str,
        wanted: Wanted | None,
    ) -> None:
        super().__init__(repository, snapshot, options)
        self._repository = repository
        self._wanted = wanted
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
        base = base_of(entry)
        self._folder.refuse_unless_free()
        label = self._snapshot.manifest.label
        found = (
            reach(self._repository, label, base, self._wanted, check=self._check) if self._wanted is not None else None
        )
        self._folder.refuse_unless_room(entry.stat.size + (found.end - found.begin if found is not None else 0))
        self._found_files, self._found_bytes, self._is_walked = 1, entry.stat.size, True
        ticker = Ticker(self._options.on_progress, self._progress)
        ticker.start()
        try:
            self._folder.unpack(self._pieces_of(entry))
            if found is not None:
                self._lay_out(label, base, found)
            self._folder.finish(base.settings, owner=self._owner())
        finally:
            ticker.stop()
        self._result.files = self._folder.files
        self._result.bytes = self._folder.bytes
        self._result.reached = {
            "lsn": shown_position(base.stop),
            **(found.told() if found is not None else {}),
            "timeline": base.timeline,
            "server_version": base.server // 10_000,
            "owner": self._folder.path.stat().st_uid,
            "is_reached": found is None or not found.is_gap or self._wanted != Wanted(),
        }
        self._result.seconds = time.monotonic() - started
        return self._result

    def _lay_out(self, label: str, base: Base, found: Reach) -> None:
        """The log, up to where it is to end: what the base backup has of it beyond that is written over."""
        log = Log(self._folder, base.timeline, base.segment)
        for part, _ in parts_of(self._repository, label, found.at):
            self._check()
            if part.life != found.life or part.start >= found.end:
                break
            skipped = max(found.begin - part.start, 0)
            log.write(part.start + skipped, part.data[skipped : found.end - part.start])
        log.finish(found.end)

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
