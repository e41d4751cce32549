"""What is said while something works in silence."""

import threading

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
