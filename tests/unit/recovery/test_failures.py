"""What is told of a recovery that stands still or fails: by the names of places, and in words of a recovery."""

from types import SimpleNamespace

import pytest

from chassis.life import signs as signs_module
from chassis.life.health import Health
from chassis.life.signs import Signs
from chassis.life.standstills import StandsStill, Standstills
from contracts import errors
from services.recovery.failures import told_hint


@pytest.mark.parametrize(
    ("still", "bound", "told"),
    [(29, 60.0, None), (31, 60.0, ", or fails after 60 s without a sign"), (121, 3600.0, "fails after 3600 s")],
)
async def test_standstill_is_told_before_it_is_given_up(
    monkeypatch: pytest.MonkeyPatch, still: float, bound: float, told: str | None
) -> None:
    """However short the wait is; with how long it lasts, and no setting of another process."""
    now = 0.0
    monkeypatch.setattr(signs_module, "time", SimpleNamespace(monotonic=lambda: now))
    signs, health = Signs(), Health("recovery-worker")
    signs.at("opening", "the target at restored", errors.TARGET_UNUSABLE)
    now = float(still)
    Standstills(health, noun="recovery").look("op-1", signs, bound)
    report = await health.report()
    hints = [each.hint for each in report.checks if each.hint]
    assert bool(hints) is (told is not None)
    assert told is None or told in hints[0]
    assert not any("WEDSYNC_" in hint for hint in hints)


def test_place_that_gave_no_answer_is_named_in_words_of_a_recovery() -> None:
    """No next run brings a recovery what it lacks."""
    signs = Signs()
    signs.at("opening", "the tiers local at disk", errors.TIER_UNREACHABLE)
    hint = told_hint(StandsStill(signs))
    assert "the tiers local at disk" in hint
    assert "run" not in hint.split()
