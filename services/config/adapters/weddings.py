"""Dates of weddings, opened for the schedules that are denser around them, and told to nobody."""

from datetime import date

from chassis.life.health import Health
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import WEDDING_DATE_FIELD, ConfigurationBody
from contracts.errors import PlatformError

DATES = "wedding-dates"


class SealedWeddings:
    """`Weddings` by the organisation's key. A date that cannot be read makes no schedule denser, and that is told."""

    def __init__(self, sealer: Sealer, health: Health) -> None:
        self._sealer = sealer
        self._health = health

    async def near(self, organisation: str, body: ConfigurationBody) -> date | None:
        """The wedding of a critical configuration; None where its date was erased, too."""
        sealed = body.wedding_date
        if not body.is_wedding_critical or sealed is None or body.schedule is None:
            return None
        try:
            text = await self._sealer.ask(lambda: self._sealer.open(organisation, WEDDING_DATE_FIELD, sealed))
        except PlatformError as error:
            if error.code is not errors.SEALING_KEY_MISSING:
                # A backup at its ordinary time is better than none until the key is back.
                self._health.degrade(DATES, error)
            return None
        self._health.restore(DATES)
        return date.fromisoformat(text)
