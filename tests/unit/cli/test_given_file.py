"""Lists that a command is given by a pipe."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import given_file
from cli.given_file import read_given


@pytest.mark.timeout(60)
def test_pipe_is_read_to_its_end_and_while_it_keeps_waiting_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`<(find …)` is one; one to which nobody writes does not hang without a word. Of a file nothing is said."""
    (tmp_path / "file").write_bytes(b"of a file")
    assert read_given(str(tmp_path / "file")) == b"of a file"
    os.mkfifo(tmp_path / "pipe")
    said, say = threading.Event(), given_file._say

    def saying(what: str) -> None:
        say(what)
        said.set()

    def written() -> None:
        assert said.wait(30)
        (tmp_path / "pipe").write_bytes(b"of a pipe")

    monkeypatch.setattr(given_file, "SAY_SECONDS", 0.01)
    monkeypatch.setattr(given_file, "_say", saying)
    writer = threading.Thread(target=written)
    writer.start()
    assert read_given(str(tmp_path / "pipe")) == b"of a pipe"
    writer.join()
    assert capsys.readouterr().err == (
        f"waiting for {tmp_path / 'pipe'}, which is no file: what writes to it has not ended\n"
    )


@pytest.mark.parametrize("make", [os.mkdir, lambda path: path.symlink_to(path)], ids=["folder", "circle"])
def test_what_is_neither_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "list")
    with pytest.raises(OSError, match="list"):
        read_given(str(tmp_path / "list"))
