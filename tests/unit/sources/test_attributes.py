"""What a file system tells beyond bytes."""

import errno
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repository.backup.source import FileProblem, Reason
from repository.stored.tree import EXTENTS_MAX
from sources import attributes
from sources.attributes import extents_of, problem_of, xattrs_of


@pytest.mark.parametrize(
    ("number", "reason", "detail"),
    [
        (errno.ENOENT, Reason.VANISHED, "ENOENT"),
        (errno.ESTALE, Reason.VANISHED, "ESTALE"),
        (errno.EACCES, Reason.UNREADABLE, "EACCES"),
        (99999, Reason.UNREADABLE, "?"),
    ],
)
def test_error_of_the_system_becomes_a_reason(number: int, reason: Reason, detail: str) -> None:
    """What is gone is told apart from what cannot be read; the system's word is kept."""
    problem = problem_of(OSError(number, "x"))
    assert isinstance(problem, FileProblem)
    assert (problem.reason, problem.detail) == (reason, detail)


def test_xattrs_that_may_not_be_read_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems without attributes, and attributes behind a permission, cost nothing but themselves."""

    def refuses(*_args: object, **_options: object) -> list[str]:
        raise OSError(errno.ENOTSUP, "no attributes here")

    monkeypatch.setattr(os, "listxattr", refuses)
    assert xattrs_of(0) == ()


def test_xattrs_that_fail_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails is not taken for one without attributes."""

    def fails(*_args: object, **_options: object) -> list[str]:
        raise OSError(errno.EIO, "bad sector")

    monkeypatch.setattr(os, "listxattr", fails)
    with pytest.raises(FileProblem):
        xattrs_of(b"/")


def _sparse(path: Path, places: list[int], size: int) -> int:
    with path.open("wb") as made:
        made.truncate(size)
        for place in places:
            made.seek(place)
            made.write(b"x" * 4096)
    return os.open(path, os.O_RDONLY)


def test_file_without_holes_has_no_extents(tmp_path: Path) -> None:
    """A dense file is not called sparse."""
    (tmp_path / "dense").write_bytes(b"x" * 10_000)
    fd = os.open(tmp_path / "dense", os.O_RDONLY)
    assert extents_of(fd, 10_000) is None
    os.close(fd)


def test_file_that_is_one_hole_has_empty_extents(tmp_path: Path) -> None:
    """Nothing but a hole: no extents, which is not the same as not sparse."""
    fd = _sparse(tmp_path / "hole", [], 100_000)
    assert extents_of(fd, 100_000) == []
    os.close(fd)


def test_file_system_without_holes_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot tell holes, a file is read whole."""

    def refuses(*_args: object) -> int:
        raise OSError(errno.EINVAL, "unknown whence")

    monkeypatch.setattr(os, "lseek", refuses)
    assert extents_of(0, 100) is None


@pytest.mark.parametrize("count", [EXTENTS_MAX - 1, EXTENTS_MAX + 10, 5 * EXTENTS_MAX])
def test_many_extents_are_joined_over_their_smallest_holes(tmp_path: Path, count: int) -> None:
    """However many holes there are, the extents are few, in order, and cover all data."""
    places = [number * 65536 + (65536 * 4 if number > count // 2 else 0) for number in range(count)]
    size = places[-1] + 200_000
    fd = _sparse(tmp_path / "many", places, size)
    extents = extents_of(fd, size)
    os.close(fd)
    assert extents is not None
    assert len(extents) <= EXTENTS_MAX
    for place in places:
        assert any(offset <= place and place + 4096 <= offset + length for offset, length in extents)
    ends = [0, *(offset + length for offset, length in extents)]
    assert all(offset >= end for (offset, _length), end in zip(extents, ends, strict=False))
    # The largest hole, in the middle, is still one.
    middle = places[count // 2] + 4096 + 30_000
    assert not any(offset <= middle < offset + length for offset, length in extents)


# Bytes, since to draw as many numbers one by one costs more than all that is tried with them.
@given(st.binary(min_size=2 * EXTENTS_MAX, max_size=2 * (EXTENTS_MAX + 60)))
def test_coarser_extents_keep_the_largest_holes(numbers: bytes) -> None:
    """The holes that are given up are never larger than one that is kept."""
    gaps = [(1 + hole % 100, 1 + length % 100) for hole, length in zip(numbers[::2], numbers[1::2], strict=False)]
    extents = []
    end = 0
    for hole, length in gaps:
        extents.append((end + hole, length))
        end += hole + length
    coarse = attributes._coarser(extents)
    assert len(coarse) <= EXTENTS_MAX
    assert coarse[0][0] == extents[0][0]
    assert sum(coarse[-1]) == end
    holes = sorted(gap for gap, _length in gaps[1:])
    kept = sorted(offset - sum(before) for before, (offset, _length) in pairwise(coarse))
    assert kept == holes[len(holes) - len(kept) :]
