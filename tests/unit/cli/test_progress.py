"""What is seen while a command works."""

import os
import pty
import sys

import pytest

from cli import progress
from cli.progress import Reading, display

GAUGES = {"source": Reading(512 << 20, 1 << 30, "1,234 files"), "cloud": Reading(100, None)}


def test_display_is_silent_when_a_machine_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json neither output has anything but the document."""
    with display(for_machines=True) as shown:
        shown.show(GAUGES)
    assert capsys.readouterr() == ("", "")


def test_display_writes_a_line_now_and_then_when_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log file gets a line every three seconds, not a bar ten times a second, and short work none at all."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with display(for_machines=False) as shown:
        for _ in range(2):
            now[0] += 1
            shown.show(GAUGES)
        assert capsys.readouterr().err == ""
        now[0] += 1
        shown.show(GAUGES)
        shown.show(GAUGES)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "3.00 s: source 512 MiB of 1.00 GiB 1,234 files; cloud 100 B\n"


def test_display_draws_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at a terminal sees one bar a gauge, with its words."""
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("TERM", "xterm")
        with display(for_machines=False) as shown:
            shown.show(GAUGES)
        terminal.flush()
        os.set_blocking(ours, False)
        drawn = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "source" in drawn
    assert "cloud" in drawn
    assert "1,234 files" in drawn
