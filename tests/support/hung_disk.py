"""A disk that never answers: a FUSE mount whose server reads no request."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DETACH = 2


@contextmanager
def hung_disk(folder: Path) -> Iterator[Path]:
    """Mount it at a folder. Whoever waits for it when the block ends gets ENOTCONN. Skips where nobody may mount."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pytest.skip("this machine has no FUSE")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other".encode()
    is_mounted = libc.mount(b"hung", os.fsencode(folder), b"fuse", 0, options) == 0
    try:
        if not is_mounted:
            pytest.skip("nothing may be mounted here")
        yield folder
    finally:
        os.close(device)
        if is_mounted:
            libc.umount2(os.fsencode(folder), _DETACH)
