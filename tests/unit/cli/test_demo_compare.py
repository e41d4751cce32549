"""The demo's comparison sees every difference: each test changes one thing in an exact copy."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.demo_compare import Comparison, compare_folders
from cli.demo_source import make_source

PHOTO = Path("photos/wedding-00/IMG_0001.jpg")
ODD = Path("oddities")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded source."""
    folder = tmp_path_factory.mktemp("demo") / "source"
    make_source(folder, megabytes=1)
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """An exact copy of it."""
    target = tmp_path / "copy"
    subprocess.run(["cp", "-a", "--sparse=always", str(original), str(target)], check=True, timeout=60)
    return target


def _compare(original: Path, copy: Path) -> Comparison:
    return compare_folders(bytes(original), bytes(copy))


def test_exact_copy_is_equal(original: Path, copy: Path) -> None:
    """Nothing is found where nothing differs, and everything was looked at."""
    seen = _compare(original, copy)
    assert seen.differences == []
    assert (seen.links, seen.hard_links, seen.sparse_files) == (3, 2, 1)
    assert seen.files > 20
    assert seen.folders > 20


def test_source_is_the_same_for_the_same_seed(original: Path, tmp_path: Path) -> None:
    """A second demo has the same source, so that its figures can be compared."""
    make_source(tmp_path / "again", megabytes=1)
    make_source(tmp_path / "other", megabytes=1, seed=2)
    assert _compare(original, tmp_path / "again").is_equal
    assert not _compare(original, tmp_path / "other").is_equal


def _keeping_time(path: Path, change: Callable[[Path], object]) -> None:
    """Change a file so that only the change itself can give it away."""
    status = path.stat()
    change(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _flip_a_bit(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def _fill_holes(path: Path) -> None:
    body = path.read_bytes()
    path.unlink()
    path.write_bytes(body)


def _part_hard_link(copy: Path) -> None:
    link = copy / ODD / "another hard link.jpg"
    status, folder = link.stat(), link.parent.stat()
    body = link.read_bytes()
    attributes = {name: os.getxattr(link, name) for name in os.listxattr(link)}
    link.unlink()
    link.write_bytes(body)
    for name, value in attributes.items():
        os.setxattr(link, name, value)
    os.utime(link, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(link.parent, ns=(folder.st_atime_ns, folder.st_mtime_ns))


def _repoint(copy: Path) -> None:
    link = copy / ODD / "dangling link"
    status = link.lstat()
    link.unlink()
    link.symlink_to("/elsewhere")
    os.utime(link, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _make_a_folder_of_a_file(copy: Path) -> None:
    file = copy / ODD / "empty file"
    file.unlink()
    file.mkdir()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one bit": (lambda copy: _keeping_time(copy / PHOTO, _flip_a_bit), "content differs"),
    "one byte less": (lambda copy: _keeping_time(copy / PHOTO, lambda path: os.truncate(path, 1000)), "size"),
    "mode": (lambda copy: (copy / PHOTO).chmod(0o600), "mode 644 became 600"),
    "one nanosecond": (
        lambda copy: os.utime(copy / PHOTO, ns=(0, (copy / PHOTO).stat().st_mtime_ns + 1)),
        "IMG_0001.jpg: time",
    ),
    "time of a folder": (lambda copy: os.utime(copy / ODD, ns=(0, 1)), "oddities: time"),
    "time of a link": (
        lambda copy: os.utime(copy / ODD / "dangling link", ns=(0, 1), follow_symlinks=False),
        "dangling link: time",
    ),
    "missing file": (lambda copy: (copy / PHOTO).unlink(), "IMG_0001.jpg: is missing"),
    "missing empty folder": (lambda copy: (copy / ODD / "empty folder/and one in it").rmdir(), "is missing"),
    "one file more": (lambda copy: (copy / "new").touch(), "new: was not there before"),
    "link points elsewhere": (_repoint, "the link points elsewhere"),
    "hard link parted": (_part_hard_link, "is no longer one file"),
    "holes filled": (lambda copy: _keeping_time(copy / ODD / "disk.img", _fill_holes), "its holes were filled"),
    "other kind": (_make_a_folder_of_a_file, "is of another kind"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_difference_is_found(original: Path, copy: Path, name: str) -> None:
    """Whatever differs is found and named."""
    change, words = CHANGES[name]
    change(copy)
    seen = _compare(original, copy)
    assert not seen.is_equal
    assert any(words in difference for difference in seen.differences), seen.differences


def test_extended_attribute_that_differs_is_found(original: Path, copy: Path) -> None:
    """An attribute that changed, vanished or came is a difference."""
    photo = copy / "photos/wedding-00/IMG_0000.jpg"
    if not os.listxattr(photo):
        pytest.skip("this file system has no extended attributes")
    os.setxattr(photo, "user.rating", b"1")
    os.removexattr(photo, "user.binary")
    os.setxattr(photo, "user.new", b"")
    differences = _compare(original, copy).differences
    assert any("user.binary, user.new, user.rating" in difference for difference in differences)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_owner_that_differs_is_found(original: Path, copy: Path) -> None:
    """A restored file belongs to whom it belonged."""
    os.chown(copy / PHOTO, 1, 1)
    assert any("owner 0:0 became 1:1" in difference for difference in _compare(original, copy).differences)


def test_many_differences_are_not_told_without_end(original: Path, tmp_path: Path) -> None:
    """A restore that went wrong altogether is told in a hundred lines."""
    (tmp_path / "empty").mkdir()
    for number in range(300):
        (tmp_path / "empty" / str(number)).touch()
    assert len(_compare(original, tmp_path / "empty").differences) == 100
