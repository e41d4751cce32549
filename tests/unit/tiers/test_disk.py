"""The steps of the directory tier on file systems that cannot do everything."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from repository.tiers.folder import disk as disk_module
from repository.tiers.folder.disk import LocalDisk, locked_by_us, rename_if_absent


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_local_disk_says_when_its_new_file_was_locked_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweeper that holds the file between its creation and our lock makes us begin anew."""
    monkeypatch.setattr(disk_module.fcntl, "flock", failing(errno.EWOULDBLOCK))
    opened = set(os.listdir("/proc/self/fd"))
    with pytest.raises(BlockingIOError):
        LocalDisk().create(str(tmp_path / "x"))
    assert len(set(os.listdir("/proc/self/fd"))) == len(opened)


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, errno.ENOSYS])
def test_local_disk_works_without_file_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """On a file system that knows no locks nobody holds one."""
    monkeypatch.setattr(disk_module.fcntl, "flock", failing(number))
    descriptor = LocalDisk().create(str(tmp_path / "x"))
    assert locked_by_us(descriptor)
    os.close(descriptor)
    monkeypatch.setattr(disk_module.fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        LocalDisk().create(str(tmp_path / "y"))


def test_local_disk_works_where_folders_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that refuses the syncing of folders as such is taken for synchronous; a real error is one."""
    for number in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
        monkeypatch.setattr(disk_module.os, "fsync", failing(number))
        LocalDisk().sync_folder(str(tmp_path))
    monkeypatch.setattr(disk_module.os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        LocalDisk().sync_folder(str(tmp_path))


def test_local_disk_says_when_a_link_fails_for_another_reason(tmp_path: Path) -> None:
    """Only where there are no hard links is a rename tried instead."""
    with pytest.raises(FileNotFoundError):
        LocalDisk().link(str(tmp_path / "missing"), str(tmp_path / "x"))


@pytest.mark.parametrize(("answer", "expected"), [(errno.EINVAL, errno.ENOTSUP), (errno.ENOSYS, errno.ENOTSUP)])
def test_rename_if_absent_says_where_it_is_not_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, expected: int
) -> None:
    """A file system or a C library without it answers ENOTSUP."""
    monkeypatch.setattr(disk_module.ctypes, "get_errno", lambda: answer)
    with pytest.raises(OSError) as caught:
        rename_if_absent(str(tmp_path / "missing"), str(tmp_path / "x"))
    assert caught.value.errno == expected
    monkeypatch.setattr(disk_module.ctypes, "CDLL", lambda *_, **__: object())
    with pytest.raises(OSError) as caught:
        rename_if_absent(str(tmp_path / "missing"), str(tmp_path / "x"))
    assert caught.value.errno == errno.ENOTSUP
