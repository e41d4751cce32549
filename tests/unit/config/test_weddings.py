"""Dates of weddings that cannot be read: whose they are is told."""

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

    async def ask(self, what: Any) -> str:
        """As the sealer does."""
        return str(what())

    def open(self, organisation: str, _field: str, _sealed: object) -> str:
        """A date, or not."""
        if organisation in self.unreadable:
            raise PlatformError(errors.KEYS_UNREACHABLE, "the disk does not answer")
        return "2027-06-12"


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
    keys.unreadable.clear()
    await weddings.near("bell", BODY)
    assert await _reason(health) is None


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
