"""Dates of weddings that cannot be read: whose they are is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from chassis.life.health import Health
from chassis.sealing import Sealer
from contracts import errors
from contracts.config_events import ConfigurationCreated
from contracts.errors import PlatformError
from contracts.samples import sample_event
from contracts.schedule import Frequency, Schedule
from services.config.adapters.weddings import DATES, NAMED_MAX, SealedWeddings
from services.config.application import Schedules
from services.config.ports import Planning
from tests.support.clock import ManualClock

BODY = msgspec.structs.replace(
    sample_event(ConfigurationCreated).body,
    is_wedding_critical=True,
    wedding_date=sample_event(ConfigurationCreated).body.name,
    schedule=Schedule(frequency=Frequency.DAILY, time_zone="UTC"),
)


class Keys:
    """Of the organisations that are named the keys cannot be read."""

    def __init__(self, *unreadable: str) -> None:
        self.unreadable = set(unreadable)
        self.code = errors.KEYS_UNREACHABLE

    async def ask(self, what: Any) -> str:
        """As the sealer does."""
        return str(what())

    def open(self, organisation: str, _field: str, _sealed: object) -> str:
        """A date, or not."""
        if organisation in self.unreadable:
            raise PlatformError(self.code, "the disk does not answer")
        return "2027-06-12"


class Stands:
    """Nothing is waited for."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    async def look(self, _configuration_id: str) -> Planning:
        """As `Turns`."""
        return Planning(self._now)


async def _reason(health: Health) -> str | None:
    found = [each for each in (await health.report()).checks if each.name == DATES]
    return found[0].reason if found else None


async def test_each_organisation_is_named_until_its_own_date_is_read() -> None:
    """Another one that reads says nothing of it."""
    keys, health = Keys("acme", "bell"), Health("config")
    sealer: Sealer = keys  # type: ignore[assignment]  # as much of it as is used
    weddings = SealedWeddings(sealer, health)
    for organisation in ("bell", "acme", "coral"):
        await weddings.near(organisation, BODY)
    assert "of acme, bell cannot be read" in str(await _reason(health))
    keys.unreadable.remove("acme")
    await weddings.near("acme", BODY)
    assert "of bell cannot be read" in str(await _reason(health))
    # Nobody asks for a date of theirs: the next look at the readiness does.
    keys.unreadable.clear()
    assert await _reason(health) is None


async def test_date_that_cannot_be_read_now_may_be_near() -> None:
    """Its runs are as dense as they can be until it can be read; those of an erased one are not."""
    now = datetime(2027, 3, 1, 12, tzinfo=UTC)
    keys = Keys("acme")
    sealer: Sealer = keys  # type: ignore[assignment]  # as above
    health = Health("config")
    weddings = SealedWeddings(sealer, health, ManualClock(now))
    schedules = Schedules(Stands(now), weddings)  # type: ignore[arg-type]  # what is asked of them
    assert await schedules.next_run("c", BODY, "acme") == now + timedelta(hours=1)
    keys.unreadable.clear()
    assert await schedules.next_run("c", BODY, "acme") == datetime(2027, 3, 2, 2, tzinfo=UTC)
    keys.unreadable, keys.code = {"acme"}, errors.SEALING_KEY_MISSING
    assert await schedules.next_run("c", BODY, "acme") == datetime(2027, 3, 2, 2, tzinfo=UTC)
    assert await _reason(health) is None, "what was erased is nobody's to put back"


async def test_many_organisations_are_counted() -> None:
    """A finding stays readable."""
    names = [f"org-{number:02}" for number in range(NAMED_MAX + 2)]
    sealer: Sealer = Keys(*names)  # type: ignore[assignment]  # as above
    health = Health("config")
    weddings = SealedWeddings(sealer, health)
    for organisation in names:
        await weddings.near(organisation, BODY)
    reason = str(await _reason(health))
    assert "org-09 and of 2 others" in reason
    assert "org-10" not in reason
