"""What will be kept, and what that costs: straight lines, judged by what came of them."""

from datetime import date, timedelta

import pytest

from gateway.groups.storage.costs import early_deletion
from gateway.groups.storage.forecast import AHEAD_DAYS, forecasts
from gateway.settings import Prices

DAY = date(2026, 1, 1)


def test_what_grows_by_the_same_each_day_is_forecast_without_error_once_that_can_be_judged() -> None:
    """A forecast of which nothing has come true yet has no error, which is not one of nothing."""
    grown = {DAY + timedelta(days=day): 10 for day in range(100)}
    told = {each.in_days: each for each in forecasts(grown, DAY + timedelta(days=99))}
    assert {each: told[each].kept_bytes for each in AHEAD_DAYS} == {30: 1300, 90: 1900, 365: 4650}
    assert (told[30].error, told[30].judged) == (0.0, 64)
    assert (told[90].error, told[90].judged) == (0.0, 4)
    assert (told[365].error, told[365].judged) == (None, 0)


def test_error_of_a_line_is_what_came_instead_of_it() -> None:
    """Ten a day for forty days, then nothing: the line of day 39 said 700 for day 69, and 400 came."""
    grown = {DAY + timedelta(days=day): 10 for day in range(40)}
    (month, *_) = forecasts(grown, DAY + timedelta(days=69))
    assert month.judged == 34
    assert month.error is not None
    came = [min(10 * (day + 31), 400) for day in range(6, 40)]
    said = [10 * (day + 31) for day in range(6, 40)]
    assert month.error == pytest.approx(sum((s - c) / c for s, c in zip(said, came, strict=True)) / 34)


def test_nothing_is_forecast_of_less_than_a_week() -> None:
    assert list(forecasts({}, DAY)) == []
    assert list(forecasts({DAY: 10}, DAY + timedelta(days=5))) == []
    assert [each.kept_bytes for each in forecasts({DAY: 70}, DAY + timedelta(days=6))] == [370, 970, 3720]


def test_early_deletion_bills_what_is_left_of_the_minimum_time_of_what_is_kept_and_no_more() -> None:
    """The youngest is what costs most: of what has gone since nobody knows how old it was."""
    prices = Prices({"offsite": 3.0}, "EUR", "2026-01-01", {}, {"offsite": 90})
    gigabyte = 1_000_000_000
    uploaded = {DAY: 5 * gigabyte, DAY - timedelta(days=30): gigabyte, DAY - timedelta(days=90): 9 * gigabyte}
    assert early_deletion(prices, "offsite", 20 * gigabyte, uploaded, DAY) == 5 * 9 + 1 * 6
    assert early_deletion(prices, "offsite", gigabyte, uploaded, DAY) == 9
    assert early_deletion(prices, "local", gigabyte, uploaded, DAY) is None
    assert early_deletion(prices, "offsite", None, uploaded, DAY) is None
