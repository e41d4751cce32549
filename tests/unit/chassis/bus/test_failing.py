"""Messages that fail and come again: when that is told, and what is known of them."""

import pytest

from chassis.bus.failing import RETRIES_PER_SECOND, TOLD_FROM, Failing
from chassis.life.health import Finding, Health
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import consumer_named

ACCEPT, CANCEL = consumer_named("executor--accept-backup"), consumer_named("executor--cancel-backup")
WHY = PlatformError(errors.LOCATIONS_UNREADABLE, "the registry is no JSON", hint="Mend it.")


async def _told(health: Health) -> list[Finding]:
    return [each for each in (await health.report()).checks if each.status == "degraded"]


async def test_message_that_fails_is_told_from_its_third_try_with_reason_and_what_to_do() -> None:
    """Twice it may have been ahead of what it needs."""
    health = Health("executor")
    failing = Failing(health)
    for tries in range(1, TOLD_FROM):
        failing.failed(ACCEPT, 7, tries, WHY)
    assert await _told(health) == []
    failing.failed(ACCEPT, 7, TOLD_FROM, WHY)
    (finding,) = await _told(health)
    assert (finding.name, finding.code, finding.hint) == (f"failing:{ACCEPT.durable_name}", WHY.code.code, "Mend it.")
    assert finding.reason is not None
    assert "message 7 of BACKUP_GATEWAY, tried 3 times of 12: the registry is no JSON" in finding.reason
    failing.settled(ACCEPT, 7)
    assert await _told(health) == []


async def test_unforeseen_error_is_told_without_its_text() -> None:
    """It may quote a person."""
    health = Health("executor")
    Failing(health).failed(ACCEPT, 7, TOLD_FROM, KeyError("Anna and Ben"))
    (finding,) = await _told(health)
    assert (finding.code, "KeyError" in str(finding.reason), "Anna" in str(finding.reason)) == (
        "handler-failed",
        True,
        False,
    )
    assert finding.hint


@pytest.mark.parametrize(("waiting", "floor", "left"), [(0, 0, 0), (2, 7, 1), (2, 6, 2), (1, 8, 0)])
async def test_what_another_replica_has_dealt_with_is_told_no_more(waiting: int, floor: int, left: int) -> None:
    """The server knows up to where all is answered."""
    health = Health("executor")
    failing = Failing(health)
    for sequence in (7, 8):
        failing.failed(ACCEPT, sequence, TOLD_FROM, WHY)
    failing.failed(CANCEL, 1, TOLD_FROM, WHY)
    failing.looked(ACCEPT, waiting=waiting, settled_up_to=floor)
    told = {each.name: str(each.reason) for each in await _told(health)}
    assert f"failing:{CANCEL.durable_name}" in told
    assert told.get(f"failing:{ACCEPT.durable_name}", "0 ").startswith(f"{left} ")


def test_message_that_was_seen_to_fail_last_is_no_suspect() -> None:
    """One that was delivered in between, and of which nobody here has heard, may have killed somebody."""
    failing = Failing(Health("executor"))
    failing.failed(ACCEPT, 7, 2, WHY)
    assert failing.has_failed(ACCEPT, 7, 3)
    assert not failing.has_failed(ACCEPT, 7, 4)
    assert not failing.has_failed(ACCEPT, 8, 3)
    assert not failing.has_failed(CANCEL, 7, 3)


def test_the_more_messages_fail_the_longer_each_waits_but_for_the_first_time() -> None:
    """Together they are tried so seldom that what comes for the first time has its turn."""
    failing = Failing(Health("executor"))
    for sequence in range(1000):
        failing.failed(ACCEPT, sequence, 1, WHY)
    assert failing.pause(ACCEPT, 1, 0.2) == 0.2
    assert failing.pause(ACCEPT, 2, 0.4) == 1000 / RETRIES_PER_SECOND
    assert failing.pause(CANCEL, 2, 0.4) == 0.4
    for sequence in range(1000):
        failing.settled(ACCEPT, sequence)
    assert failing.pause(ACCEPT, 12, 30.0) == 30.0
