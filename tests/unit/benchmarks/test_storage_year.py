"""The simulated year: small, and whole."""

from datetime import date, timedelta

from benchmarks.storage_bench import forecast_errors
from benchmarks.storage_year import Year, YearPlan


def test_weeks_of_a_few_configurations_lose_nothing_and_keep_nothing_that_shares_no_content() -> None:
    """It proves by itself that all that should be there is there, whole, and nothing else."""
    found = Year(YearPlan(configurations=3, days=28, is_disjoint=True)).run()
    assert found.runs > found.points > 0
    assert found.went == found.runs - found.points > 0
    assert found.excess == 0


def test_forecast_is_judged_from_the_ninetieth_day_by_what_was_known_then() -> None:
    day = date(2026, 1, 1)
    grown = {day + timedelta(days=each): 10 for each in range(130)}
    errors = list(forecast_errors(grown))
    assert len(errors) == 11
    assert max(errors) == 0
    assert list(forecast_errors(dict.fromkeys(sorted(grown)[:100], 10))) == []
