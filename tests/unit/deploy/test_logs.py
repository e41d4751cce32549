"""Log files that are bounded in size."""

import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from deploy.stack.logs import end_of, last_lines, last_words, rotate


def test_short_log_is_left_alone(tmp_path: Path) -> None:
    """What is within the limit, or not there, is not rotated."""
    log = tmp_path / "part.log"
    assert not rotate(log)
    log.write_text("short")
    assert not rotate(log, max_bytes=5)
    assert os.listdir(tmp_path) == ["part.log"]


def test_long_log_is_moved_aside_and_the_writer_goes_on(tmp_path: Path) -> None:
    """A part that has its log open for appending writes on at the beginning of the emptied file."""
    log = tmp_path / "part.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(b"%d" % number * 10)
            assert rotate(log, max_bytes=5, kept=3)
        writer.write(b"now")
    assert log.read_bytes() == b"now"
    assert [(tmp_path / f"part.log.{number}").read_bytes() for number in (1, 2, 3)] == [b"5" * 10, b"4" * 10, b"3" * 10]
    assert not (tmp_path / "part.log.4").exists()
    assert stat.S_IMODE((tmp_path / "part.log.1").stat().st_mode) == 0o600


def test_older_logs_stay_where_the_copy_finds_no_room(tmp_path: Path) -> None:
    """A full disk costs no log: what was kept is kept, the long log is not cut, and no half copy takes the room."""
    log = tmp_path / "part.log"
    log.write_bytes(b"0" * 3 * 1024 * 1024)
    for number in (1, 2, 3):
        (tmp_path / f"part.log.{number}").write_text(str(number))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, largest[1]))
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="too large"):
                rotate(log, max_bytes=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, largest)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_last_words_are_those_since_a_start(tmp_path: Path) -> None:
    """What an earlier run has said is not the reason of a new failure; a log that was cut counts as a whole."""
    log = tmp_path / "part.log"
    log.write_text("an old reason\n")
    since = end_of(log)
    assert last_words(log, since=since) == f"; it said nothing (log: {log})"
    with log.open("a") as file:
        file.write("a new reason\na new reason\n")
    assert last_words(log, since=since) == f"; its last words: a new reason (log: {log})"
    log.write_text("cut\n")
    assert last_lines(log, 3, since=since) == ["cut"]
    assert end_of(tmp_path / "nothing.log") == 0


def test_last_lines_are_the_end_of_the_log(tmp_path: Path) -> None:
    """The end is found without reading a long log whole, and never begins in the middle of a line."""
    log = tmp_path / "part.log"
    assert last_lines(log, 3) == []
    log.write_text("\n".join(f"line {number:06}" for number in range(100_000)))
    assert last_lines(log, 2) == ["line 099998", "line 099999"]
    assert last_lines(log, 0) == []
    everything = last_lines(log, 1_000_000)
    assert 1_000 < len(everything) < 100_000
    assert all(len(line) == 11 for line in everything)
