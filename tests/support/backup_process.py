"""A process of its own that makes one backup to directory tiers, slowly, so that a test can kill it at any step.

`python -m tests.support.backup_process SOURCE TOKEN SEED TIER...` prints `open` when the repository is open,
and `done` when the backup is committed.
"""

import sys
import threading
from collections.abc import Sequence

from repository.backup.backup import BackupOptions, backup
from repository.opened.repository import Repository
from repository.tiers.folder.disk import LocalDisk
from repository.tiers.folder.store import DirectoryObjectStore
from sources.directory import DirectorySource
from tests.support.crash_scenes import small_packs
from tests.support.repositories import key_file

STEP_SECONDS = 0.002


class SlowDisk(LocalDisk):
    """A disk on which each step that changes something takes its time."""

    def _wait(self) -> None:
        threading.Event().wait(STEP_SECONDS)

    def create(self, path: str) -> int:
        """Create a file."""
        self._wait()
        return super().create(path)

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """Write in two parts, so that a kill leaves half a file."""
        whole = b"".join(buffers)
        super().write(descriptor, [memoryview(whole[: len(whole) // 2])])
        self._wait()
        super().write(descriptor, [memoryview(whole[len(whole) // 2 :])])

    def sync(self, descriptor: int) -> None:
        """Sync a file."""
        self._wait()
        super().sync(descriptor)

    def link(self, source: str, target: str) -> None:
        """Link a file."""
        self._wait()
        super().link(source, target)

    def rename(self, source: str, target: str) -> None:
        """Rename a file."""
        self._wait()
        super().rename(source, target)


def say(what: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(source: str, token: str, seed: int, tiers: Sequence[str]) -> None:
    """Make the backup."""
    with small_packs():
        stores = [DirectoryObjectStore(path, path.rpartition("/")[2], disk=SlowDisk()) for path in tiers]
        repository = Repository.open(stores, key_file(seed))
        say("open")
        options = BackupOptions(run_token=token, label="photos", workers=2, memory_budget=64 << 20)
        backup(repository, DirectorySource(source), options=options)
        say("done")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
