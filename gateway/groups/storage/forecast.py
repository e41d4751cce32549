"""How what is kept will grow: a straight line through the last 30 days, and how far such lines were off so far. Pure.

What was forecast on a day of the past can be judged once its time has come: its error is what it was off by, as a share
of what was kept then. Nobody has to have written the forecasts down, as the same days give the same line again.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import accumulate

import msgspec

WINDOW_DAYS = 30
KNOWN_DAYS_MIN = 7
AHEAD_DAYS = (30, 90, 365)


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`error`: the mean of `judged` forecasts of the past that looked as far ahead; None where none can be judged."""

    in_days: int
    kept_bytes: int
    error: float | None
    judged: int


def forecasts(grown: Mapping[date, int], today: date) -> Iterator[Forecast]:
    """Of what was kept more, or less, on each day that told of any; nothing where less than a week is known."""
    if not grown:
        return
    first = min(grown)
    known = (today - first).days + 1
    if known < KNOWN_DAYS_MIN:
        return
    kept = list(accumulate(grown.get(first + timedelta(days=day), 0) for day in range(known)))
    for ahead in AHEAD_DAYS:
        errors = list(_errors(kept, ahead))
        yield Forecast(
            in_days=ahead,
            kept_bytes=max(0, round(_ahead(kept, known - 1, ahead))),
            error=sum(errors) / len(errors) if errors else None,
            judged=len(errors),
        )


def _ahead(kept: list[int], day: int, ahead: int) -> float:
    """What the line of a day says of so many days later. Nothing was kept before the first day."""
    window = min(day + 1, WINDOW_DAYS)
    before = kept[day - window] if day >= window else 0
    return kept[day] + (kept[day] - before) / window * ahead


def _errors(kept: list[int], ahead: int) -> Iterator[float]:
    for day in range(KNOWN_DAYS_MIN - 1, len(kept) - ahead):
        if (came := kept[day + ahead]) > 0:
            yield abs(max(0.0, _ahead(kept, day, ahead)) - came) / came
