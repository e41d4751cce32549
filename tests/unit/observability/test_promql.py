"""The evaluator of alert rules: it says of a rule what Prometheus says, and refuses what it does not know."""

import pytest

from tests.support.promql import NotUnderstood, Scrapes, counted_in, names_in

FIRST = """
# TYPE runs counter
runs_total{outcome="failed"} 3
runs_total{outcome="completed"} 9
# TYPE free gauge
free{place="a"} 10
free{place="b"} 80
# TYPE size gauge
size{place="a"} 100
size{place="b"} 100
# TYPE since gauge
since{configuration="c1"} 500
"""


@pytest.fixture
def scrapes() -> Scrapes:
    """Two scrapes, a minute apart: a run has failed in between, and one of the targets is gone."""
    scrapes = Scrapes()
    scrapes.add(1000, {"one": FIRST, "two": FIRST})
    scrapes.add(1060, {"one": FIRST.replace('"failed"} 3', '"failed"} 4'), "two": None})
    return scrapes


def _found(scrapes: Scrapes, expression: str, label: str = "instance", **at: float) -> dict[str, float]:
    value = scrapes.ask(expression, **at)
    assert isinstance(value, dict)
    return {dict(labels).get(label, ""): each for labels, each in value.items()}


@pytest.mark.parametrize(
    ("expression", "label", "expected"),
    [
        ('up{job="wedsync-backup"} == 0', "instance", {"two": 0.0}),
        ('up{job="another"} == 0', "instance", {}),
        ('free{place!="b"}', "place", {"a": 10.0}),
        ("free / size < 0.5", "place", {"a": 0.1}),
        ("100 - free", "place", {"a": 90.0, "b": 20.0}),
        ("free - 2 * 3", "place", {"a": 4.0, "b": 74.0}),
        ("(free - 2) * 3", "place", {"a": 24.0, "b": 234.0}),
        ("time() - since > 1 * 500", "configuration", {"c1": 560.0}),
        ("time() - since > 560", "configuration", {}),
        ("min by (job) (free)", "job", {"wedsync-backup": 10.0}),
        ("sum by (instance, job) (free)", "instance", {"one": 90.0}),
        ("free == 10 or free >= 80", "place", {"a": 10.0, "b": 80.0}),
        ('increase(runs_total{outcome="failed"}[5m]) > 0', "outcome", {"failed": 1.0}),
        ("max by (outcome) (increase(runs_total[5m]))", "outcome", {"failed": 1.0, "completed": 0.0}),
        ("increase(runs_total[30s]) > 0", "outcome", {}),
        ("absent_one > 0", "instance", {}),
        ('absent(up{job="another",instance!="x"})', "job", {"another": 1.0}),
        ('absent(up{job="wedsync-backup"})', "job", {}),
    ],
)
def test_expression_has_the_value_that_prometheus_gives(
    scrapes: Scrapes, expression: str, label: str, expected: dict[str, float]
) -> None:
    """One line for each thing that it knows."""
    assert _found(scrapes, expression, label) == pytest.approx(expected)


def test_time_goes_on_without_a_scrape(scrapes: Scrapes) -> None:
    """An age is asked for at a later time, as by a rule an hour later."""
    assert not _found(scrapes, "time() - since > 3600", "configuration")
    assert _found(scrapes, "time() - since > 3600", "configuration", at=5000) == {"c1": 4500.0}


def test_counter_that_began_anew_has_counted_what_it_shows() -> None:
    """A process that was started anew counts from zero."""
    scrapes = Scrapes()
    for time, value in ((0, 5), (60, 7), (120, 1)):
        scrapes.add(time, {"one": f"# TYPE runs counter\nruns_total {value}\n"})
    assert _found(scrapes, "increase(runs_total[5m])") == {"one": 3.0}


def test_series_that_was_not_there_before_has_not_grown() -> None:
    """As with Prometheus: a counter that first shows itself with 1 has no increase; it has to be shown as 0 before."""
    scrapes = Scrapes()
    scrapes.add(0, {"one": ""})
    scrapes.add(60, {"one": "# TYPE runs counter\nruns_total 1\n"})
    assert not _found(scrapes, "increase(runs_total[5m]) > 0")


@pytest.mark.parametrize(
    "expression",
    [
        "rate(runs_total[5m]) > 0",
        "runs_total[5m]",
        'free{place=~"a"}',
        "free > size",
        "free and size",
        "1 > 0",
        "free >",
        "free }",
        "sum(free)",
        "free 5",
        "free > 5x",
        "rate(free[5m])",
    ],
)
def test_what_it_does_not_know_it_refuses(scrapes: Scrapes, expression: str) -> None:
    """A rule never passes by being misread."""
    with pytest.raises(NotUnderstood):
        scrapes.ask(expression)


def test_names_of_an_expression() -> None:
    """Which series must be there for a rule to say anything."""
    expression = 'time() - max by (c) (since{a="b"}) > 3 or increase(runs_total[5m]) > 0'
    assert names_in(expression) == ["since", "runs_total"]
    assert counted_in(expression) == ["runs_total"]
