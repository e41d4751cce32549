"""A disk on which a step fails: no space, no permission, bad sectors."""

import os
from collections.abc import Sequence

from repository.tiers.folder.disk import LocalDisk


class FailingDisk(LocalDisk):
    """A disk on which one step fails with an error number, from a given time on."""

    def __init__(self, step: str, number: int, *, after: int = 0) -> None:
        self._step, self._number, self._left = step, number, after

    def _may_fail(self, step: str) -> None:
        if step == self._step:
            if self._left == 0:
                raise OSError(self._number, os.strerror(self._number))
            self._left -= 1

    def make_folder(self, path: str) -> bool:
        """Create one folder."""
        self._may_fail("make_folder")
        return super().make_folder(path)

    def create(self, path: str) -> int:
        """Create an empty file."""
        self._may_fail("create")
        return super().create(path)

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """Write the buffers, or half of the first and fail."""
        try:
            self._may_fail("write")
        except OSError:
            super().write(descriptor, [buffers[0][: buffers[0].nbytes // 2]])
            raise
        super().write(descriptor, buffers)

    def sync(self, descriptor: int) -> None:
        """Sync the file."""
        self._may_fail("sync")
        super().sync(descriptor)

    def sync_folder(self, path: str) -> None:
        """Sync the folder."""
        self._may_fail("sync_folder")
        super().sync_folder(path)

    def link(self, source: str, target: str) -> None:
        """Give the file a second name."""
        self._may_fail("link")
        super().link(source, target)

    def rename(self, source: str, target: str) -> None:
        """Rename the file."""
        self._may_fail("rename")
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove the name."""
        self._may_fail("unlink")
        super().unlink(path)
