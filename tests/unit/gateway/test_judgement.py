"""What the readiness report says of the read models, by what was found."""

from types import SimpleNamespace

import pytest

from chassis.life.health import DEGRADED, NOT_READY, READY, Health
from contracts import errors
from contracts.errors import PlatformError
from gateway.projections import judgement as module
from gateway.projections.judgement import Judgement
from gateway.projections.projection import catalogue
from gateway.projections.state import Made


async def _status(health: Health) -> str:
    return (await health.report()).status


async def test_gateway_that_has_not_looked_yet_is_not_ready() -> None:
    """What cannot be known yet is not taken for good, whoever leads."""
    health = Health("gateway")
    judgement = Judgement(health)
    assert await _status(health) == NOT_READY
    judgement.lead(leads=False)
    assert await _status(health) == NOT_READY
    made = {name: Made(version=1) for name in catalogue()}
    judgement.of_standby("A", is_applied=True, moves=1, found=made)
    assert await _status(health) == READY


async def test_gateway_that_stands_by_is_not_ready_where_the_other_does_not_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is behind and moves is well; what is behind and does not, for longer than a moment, is not."""
    monkeypatch.setattr(module, "STANDSTILL_SECONDS", -1.0)
    health = Health("gateway")
    judgement = Judgement(health)
    made = {name: Made(version=1) for name in catalogue()}
    for moves in range(3):
        judgement.of_standby("A", is_applied=False, moves=moves, found=made)
        assert await _status(health) == READY
    judgement.of_standby("A", is_applied=False, moves=2, found=made)
    assert await _status(health) == NOT_READY
    judgement.lead(leads=True)
    assert await _status(health) == READY


async def test_gateway_that_stands_by_is_not_ready_before_anything_was_made() -> None:
    """It has nothing to answer with either."""
    health = Health("gateway")
    Judgement(health).of_standby("A", is_applied=True, moves=1, found={name: Made() for name in catalogue()})
    assert await _status(health) == NOT_READY


async def test_gateway_is_not_ready_before_anything_was_made() -> None:
    """On a new platform nobody can be answered until the first build has ended."""
    health = Health("gateway")
    judgement = Judgement(health)
    judgement.of_due({name: Made() for name in catalogue()})
    assert await _status(health) == NOT_READY
    judgement.of_due({})
    assert await _status(health) == READY


async def test_gateway_that_makes_one_projection_anew_is_degraded() -> None:
    """All others answer meanwhile, and the old one does."""
    health = Health("gateway")
    judgement = Judgement(health)
    judgement.of_due({next(iter(catalogue())): Made(version=1)})
    assert await _status(health) == DEGRADED
    judgement.of_due({name: Made(version=1) for name in catalogue()})
    assert await _status(health) == DEGRADED


async def test_another_log_that_no_build_takes_in_is_a_standstill(monkeypatch: pytest.MonkeyPatch) -> None:
    """While its build moves it is only shown; where that has failed, or does not move, nothing of the stream comes."""
    monkeypatch.setattr(module, "STANDSTILL_SECONDS", -1.0)
    health = Health("gateway")
    judgement = Judgement(health)
    judgement.of_due({})
    made = {name: Made(version=1) for name in catalogue()}
    for sequence in range(3):
        made = {name: Made(version=1, sequence=sequence) for name in catalogue()}
        judgement.of_other_log("A", made)
        assert await _status(health) == READY
    judgement.of_build(PlatformError(errors.STREAM_MISSING, "another stream has lost events", hint="refill it"))
    judgement.of_other_log("A", made)
    report = await health.report()
    assert report.status == NOT_READY
    assert any(each.hint == "refill it" for each in report.checks)
    judgement.of_build(None)
    judgement.of_other_log("A", made)
    assert await _status(health) == READY
    monkeypatch.setattr(module, "BUILD_STILL_SECONDS", -1.0)
    judgement.of_other_log("A", made)
    assert await _status(health) == NOT_READY


@pytest.mark.parametrize("leads", [True, False])
async def test_read_model_that_a_version_brings_degrades_until_it_was_made_once(leads: bool) -> None:
    """What reads it is answered by nobody until then, and all else is: it is named. Without any nothing is answered."""
    health = Health("gateway")
    judgement = Judgement(health)
    made = {name: Made(version=1) for name in catalogue()}
    none = {name: Made() for name in catalogue()}
    new = {**made, "requests": Made()}

    def found(what: dict[str, Made], moves: int) -> None:
        if leads:
            judgement.of_due({name: each for name, each in what.items() if not each.version})
        else:
            judgement.of_standby("A", is_applied=True, moves=moves, found=what)

    found(none, 1)
    assert await _status(health) == NOT_READY
    found(new, 2)
    report = await health.report()
    assert report.status == DEGRADED
    assert any("requests are made from the streams for the first time" in (each.reason or "") for each in report.checks)
    if leads:
        judgement.of_due({"requests": Made(version=1)})
        assert await _status(health) == DEGRADED
    else:
        judgement.of_standby("A", is_applied=True, moves=2, found=made)
        assert await _status(health) == READY


@pytest.mark.parametrize("version", [0, 1])
async def test_build_that_does_not_move_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    """Whoever is told that nothing is to be done waits for ever; one that moves again is told so again."""
    monkeypatch.setattr(module, "BUILD_STILL_SECONDS", 1.0)
    now = 0.0
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    health = Health("gateway")
    judgement = Judgement(health)
    due = {name: Made(version=version, building=1, sequence=0) for name in catalogue()}

    async def told() -> str:
        (found,) = [each for each in (await health.report()).checks if each.status != READY]
        return f"{found.reason}: {found.hint}"

    judgement.of_due(due)
    assert "Nothing is to be done" in await told()
    now = 2.0
    judgement.of_due(due)
    assert "does not move" in await told()
    assert "pg_stat_activity" in await told()
    due = {name: Made(version=version, building=1, sequence=5) for name in catalogue()}
    judgement.of_due(due)
    assert "Nothing is to be done" in await told()
