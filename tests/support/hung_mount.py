"""A mount that never answers, and then one whose server has died: what a lost file server looks like from below."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2


class HungMount:
    """A FUSE file system that nobody serves: each question to it waits, until `die`; then each fails (ENOTCONN)."""

    def __init__(self, folder: Path) -> None:
        self._device: int | None = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if _LIBC.mount(b"hung", bytes(folder), b"fuse", 0, options) != 0:
            self.die()
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))

    def die(self) -> None:
        """The server is gone for good: whoever waits is told."""
        if self._device is not None:
            os.close(self._device)
            self._device = None


@contextmanager
def hung_mount(folder: Path) -> Iterator[HungMount]:
    """Mount one over a folder; skips the test where nothing can be mounted."""
    try:
        mount = HungMount(folder)
    except OSError as error:
        pytest.skip(f"no file system of one's own can be mounted here: {error.strerror}")
    try:
        yield mount
    finally:
        mount.die()
        _LIBC.umount2(bytes(folder), _DETACH)
