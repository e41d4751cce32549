"""What is said while something works in silence."""

import threading
import time

import pytest

from cli import patience as module
from cli.patience import patience


def test_patience_says_that_it_goes_on_and_short_work_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks at an empty screen for longer than a few seconds, and nobody is told of what was done at once."""
    with patience("it is made"):
        pass
    assert capsys.readouterr().out == ""

    monkeypatch.setattr(module, "SAY_SECONDS", 0.01)
    asked = threading.Event()

    def detail() -> str:
        asked.set()
        return "two of three"

    with patience("it is made", detail=detail):
        assert asked.wait(30)
    assert "s  it is made: two of three\n" in capsys.readouterr().out


def test_short_works_do_not_add_up_to_a_long_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The silence counts from the last word, whoever spoke, and what is told is the innermost work."""
    monkeypatch.setattr(module, "SAY_SECONDS", 0.3)
    said, deadline = "", time.monotonic() + 60
    with patience("the whole"):
        while "a part" not in said and time.monotonic() < deadline:
            with patience("a part"):
                time.sleep(0.05)
            said += capsys.readouterr().out
    assert "s  a part\n" in said


def test_patience_is_silent_while_others_speak(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees something move is not told besides that it goes on."""
    looked = threading.Event()
    monkeypatch.setattr(module, "silence_seconds", lambda: looked.set() or 0.0)
    with patience("the whole"):
        assert looked.wait(30)
    assert capsys.readouterr().out == ""
