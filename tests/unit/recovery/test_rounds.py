"""Which place is read next, and when: the time, the budget, and what is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

from services.recovery.validating.scheduled import LOOK, Place, when_round_came

NOW = datetime(2027, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)
WITHIN = 60 * DAY


def _place(location: str, **of: Any) -> Place:
    return Place(tier="local", location=location, newest_point="point", since=NOW - DAY, **of)


def _next(*places: Place, bytes_a_day: int = 1000) -> tuple[str | None, datetime]:
    place, following = when_round_came(places, NOW, within=WITHIN, bytes_a_day=bytes_a_day)
    return None if place is None else place.location, following


def test_place_is_read_at_first_and_again_once_half_of_its_time_is_over() -> None:
    proven = [_place("a", proven_at=NOW - 29 * DAY), _place("b", proven_at=NOW - 30 * DAY)]
    assert _next(*proven) == ("b", NOW + LOOK)
    assert _next(proven[0]) == (None, NOW + LOOK)
    assert _next(_place("a", proven_at=NOW - 30 * DAY + timedelta(hours=1))) == (None, NOW + timedelta(hours=1))
    assert _next(_place("new"), proven[0]) == ("new", NOW + LOOK)
    assert _next() == (None, NOW + LOOK)


def test_nothing_is_read_before_what_was_read_last_is_paid_for() -> None:
    """On the average no day has more than the budget, however large a place is."""
    read = _place("a", proven_at=NOW - DAY, read_bytes=1100)
    assert _next(read, _place("b")) == (None, NOW + timedelta(days=0.1))
    assert _next(read, _place("b"), bytes_a_day=1100) == ("b", NOW + LOOK)


def test_place_that_is_away_keeps_no_other_from_being_read() -> None:
    away = _place("away", begun_at=NOW - LOOK)
    assert _next(away, _place("b", proven_at=NOW - 40 * DAY)) == ("b", NOW + LOOK)
    assert _next(away, _place("b", proven_at=NOW - DAY)) == ("away", NOW + LOOK)
