"""Writing past the page cache: the same bytes, wherever the system refuses or interrupts it."""

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from repository.stored.buffers import new_memory
from repository.tiers.folder import direct_io
from repository.tiers.folder.direct_io import ALIGNMENT, DIRECT_FROM, write_directly
from repository.tiers.folder.disk import LocalDisk


def _noise(length: int) -> memoryview:
    memory = new_memory(length)
    memory[:] = hashlib.shake_256(b"pack").digest(length)
    return memoryview(memory)


@pytest.mark.parametrize("extra", [0, 1, ALIGNMENT - 1, 12345])
def test_large_aligned_buffer_is_written_whole(tmp_path: Path, extra: int) -> None:
    """Whole pages go past the cache, the rest the usual way, and the descriptor is as it was."""
    view = _noise(DIRECT_FROM + extra)
    descriptor = os.open(tmp_path / "pack", os.O_CREAT | os.O_WRONLY)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    LocalDisk().write(descriptor, [view])
    assert fcntl.fcntl(descriptor, fcntl.F_GETFL) == flags
    os.close(descriptor)
    assert (tmp_path / "pack").read_bytes() == view


@pytest.mark.parametrize(
    "view",
    [
        memoryview(bytes(2 * DIRECT_FROM)),
        memoryview(bytearray(2 * DIRECT_FROM + 1))[1:],
        _noise(DIRECT_FROM - 1),
        _noise(2 * DIRECT_FROM)[16:],
    ],
    ids=["read-only", "odd address", "short", "within a page"],
)
def test_buffer_that_is_not_made_for_it_is_left_to_the_caller(tmp_path: Path, view: memoryview) -> None:
    """Nothing is written of a buffer that is short, read-only or does not begin with a page."""
    descriptor = os.open(tmp_path / "pack", os.O_CREAT | os.O_WRONLY)
    assert write_directly(descriptor, view) == 0
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    LocalDisk().write(descriptor, [view])
    os.close(descriptor)
    assert (tmp_path / "pack").read_bytes() == view


@pytest.mark.parametrize("after", [0, 1])
def test_refusal_leaves_the_rest_to_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A file system that refuses, at once or after a part, gets the rest through the cache, nothing twice."""
    view = _noise(2 * DIRECT_FROM)
    real, calls = os.write, [0]

    def refuses(descriptor: int, body: memoryview) -> int:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(errno.EINVAL, "not aligned any more")
        return real(descriptor, body[:DIRECT_FROM])

    monkeypatch.setattr(os, "write", refuses)
    descriptor = os.open(tmp_path / "pack", os.O_CREAT | os.O_WRONLY)
    LocalDisk().write(descriptor, [view])
    os.close(descriptor)
    assert (tmp_path / "pack").read_bytes() == view


def test_system_without_it_writes_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no O_DIRECT, or it cannot be set, everything goes through the cache."""
    view = _noise(DIRECT_FROM)
    descriptor = os.open(tmp_path / "pack", os.O_CREAT | os.O_WRONLY)
    with monkeypatch.context() as without:
        without.setattr(direct_io, "_DIRECT", 0)
        assert write_directly(descriptor, view) == 0
    real = fcntl.fcntl

    def refuses(number: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & direct_io._DIRECT:
            raise OSError(errno.EINVAL, "not on this file system")
        return real(number, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuses)
    assert write_directly(descriptor, view) == 0
    os.close(descriptor)


def test_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is none of alignment is the caller's to hear."""

    def full(_descriptor: int, _body: memoryview) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    descriptor = os.open(tmp_path / "pack", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="full"):
        LocalDisk().write(descriptor, [_noise(DIRECT_FROM)])
    os.close(descriptor)
