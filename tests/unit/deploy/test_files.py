"""Small files that are written whole."""

import os
import stat
from pathlib import Path

import pytest

from deploy.stack.files import write_atomically, write_once


@pytest.mark.parametrize("durable", [True, False])
def test_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path, durable: bool) -> None:
    """The new content is there, readable by the owner alone, and no draft is left."""
    path = tmp_path / "state.json"
    path.write_text("old")
    write_atomically(path, "new", durable=durable)
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["state.json"]


def test_write_leaves_the_old_content_when_it_fails(tmp_path: Path) -> None:
    """A replacement that cannot happen changes nothing."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError):
        write_atomically(path, "new")
    assert sorted(os.listdir(tmp_path)) == ["folder"]


def test_write_once_keeps_what_is_there(tmp_path: Path) -> None:
    """A secret that exists is never replaced, also not by a second start at the same moment."""
    path = tmp_path / "key"
    assert write_once(path, b"first")
    assert not write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["key"]


def test_write_does_not_follow_a_link_that_lies_in_its_way(tmp_path: Path) -> None:
    """The link is replaced; what it points to is not touched."""
    target = tmp_path / "target"
    target.write_text("untouched")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, "new")
    assert target.read_text() == "untouched"
    assert not link.is_symlink()
