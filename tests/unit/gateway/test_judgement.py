"""What the readiness report says of the read models, by what was found."""

from chassis.health import DEGRADED, NOT_READY, READY, Health
from gateway.projections.judgement import Judgement
from gateway.projections.projection import catalogue
from gateway.projections.state import Made


async def _status(health: Health) -> str:
    return (await health.report()).status


async def test_gateway_that_has_not_looked_yet_is_not_ready() -> None:
    """What cannot be known yet is not taken for good; who stands by leaves the answer to the one that leads."""
    health = Health("gateway")
    judgement = Judgement(health)
    assert await _status(health) == NOT_READY
    judgement.ask(is_asked=False)
    assert await _status(health) == READY


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
    judgement.of_due({next(iter(catalogue())): Made()})
    assert await _status(health) == DEGRADED
    judgement.of_due({name: Made(version=1) for name in catalogue()})
    assert await _status(health) == DEGRADED
