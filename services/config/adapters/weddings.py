"""Dates of weddings, opened for the schedules that are denser around them, and told to nobody."""

from datetime import date

from chassis.clock import Clock, SystemClock
from chassis.life.health import DEGRADED, Health
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import WEDDING_DATE_FIELD, ConfigurationBody
from contracts.errors import PlatformError
from contracts.sealed import Sealed

DATES = "wedding-dates"
NAMED_MAX = 10
"""So many organisations are named; the others are counted."""


class SealedWeddings:
    """`Weddings` by the organisation's key. One that cannot be read now may be any: it is today, and that is told.

    So runs may be too many until the key is back, and are never too few.
    """

    def __init__(self, sealer: Sealer, health: Health, clock: Clock | None = None) -> None:
        self._sealer = sealer
        self._clock = clock or SystemClock()
        self._unreadable: dict[str, tuple[Sealed, PlatformError]] = {}
        health.add(DATES, self._check, worst=DEGRADED)

    async def near(self, organisation: str, body: ConfigurationBody) -> date | None:
        """The wedding of a critical configuration; None where its date was erased, too."""
        sealed = body.wedding_date
        if not body.is_wedding_critical or sealed is None or body.schedule is None:
            return None
        text = await self._opened(organisation, sealed)
        if organisation in self._unreadable:
            return self._clock.now().date()
        return None if text is None else date.fromisoformat(text)

    async def _opened(self, organisation: str, sealed: Sealed) -> str | None:
        """A date; None where it was erased, or cannot be read now, which is noted."""
        text = None
        try:
            text = await self._sealer.ask(lambda: self._sealer.open(organisation, WEDDING_DATE_FIELD, sealed))
        except PlatformError as error:
            if error.code is not errors.SEALING_KEY_MISSING:
                self._unreadable[organisation] = sealed, error
                return None
        self._unreadable.pop(organisation, None)
        return text

    async def _check(self) -> PlatformError | None:
        """One finding, which names the organisations; the latest error says why. Those named are tried once more."""
        for organisation, (sealed, _) in list(self._unreadable.items())[:NAMED_MAX]:
            await self._opened(organisation, sealed)
        if not self._unreadable:
            return None
        named = sorted(self._unreadable)[:NAMED_MAX]
        more = len(self._unreadable) - len(named)
        others = f" and of {more} others" if more else ""
        _, error = list(self._unreadable.values())[-1]
        message = f"wedding dates of {', '.join(named)}{others} cannot be read, whose runs are hourly meanwhile: "
        return error.told_as(message + error.message)
