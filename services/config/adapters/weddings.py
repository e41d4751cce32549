"""Dates of weddings, opened for the schedules that are denser around them, and told to nobody."""

from datetime import date

from chassis.clock import Clock, SystemClock
from chassis.life.health import Health
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import WEDDING_DATE_FIELD, ConfigurationBody
from contracts.errors import PlatformError

DATES = "wedding-dates"
NAMED_MAX = 10
"""So many organisations are named; the others are counted."""


class SealedWeddings:
    """`Weddings` by the organisation's key. One that cannot be read now may be any: it is today, and that is told.

    So runs may be too many until the key is back, and are never too few.
    """

    def __init__(self, sealer: Sealer, health: Health, clock: Clock | None = None) -> None:
        self._sealer = sealer
        self._health = health
        self._clock = clock or SystemClock()
        self._unreadable: dict[str, PlatformError] = {}

    async def near(self, organisation: str, body: ConfigurationBody) -> date | None:
        """The wedding of a critical configuration; None where its date was erased, too."""
        sealed = body.wedding_date
        if not body.is_wedding_critical or sealed is None or body.schedule is None:
            return None
        try:
            text = await self._sealer.ask(lambda: self._sealer.open(organisation, WEDDING_DATE_FIELD, sealed))
        except PlatformError as error:
            if error.code is errors.SEALING_KEY_MISSING:
                return None
            self._unreadable[organisation] = error
            self._tell()
            return self._clock.now().date()
        if self._unreadable.pop(organisation, None) is not None:
            self._tell()
        return date.fromisoformat(text)

    def _tell(self) -> None:
        """One finding, which names the organisations; the latest error says why."""
        if not self._unreadable:
            self._health.restore(DATES)
            return
        named = sorted(self._unreadable)[:NAMED_MAX]
        more = len(self._unreadable) - len(named)
        others = f" and of {more} others" if more else ""
        error = list(self._unreadable.values())[-1]
        message = f"wedding dates of {', '.join(named)}{others} cannot be read, whose runs are hourly meanwhile: "
        self._health.degrade(DATES, error.told_as(message + error.message))
