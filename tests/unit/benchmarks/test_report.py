"""A figure below its floor cannot be overlooked."""

import json
from pathlib import Path

import pytest

from benchmarks.report import Figure, Report, Verdict, plot


@pytest.mark.parametrize(
    ("got", "smaller_is_better", "verdict"),
    [
        (1.9, False, Verdict.BELOW),
        (2.0, False, Verdict.FLOOR),
        (2.9, False, Verdict.FLOOR),
        (3.0, False, Verdict.AIM),
        (0.9, True, Verdict.AIM),
        (1.0, True, Verdict.AIM),
        (2.0, True, Verdict.FLOOR),
        (2.1, True, Verdict.BELOW),
    ],
)
def test_verdict_follows_the_floor_and_the_aim(got: float, smaller_is_better: bool, verdict: Verdict) -> None:
    """Equal to the floor is met; which side is better is the figure's own."""
    floor, aim = (2.0, 1.0) if smaller_is_better else (2.0, 3.0)
    figure = Figure("row", "work", got, floor=floor, aim=aim, smaller_is_better=smaller_is_better)
    assert figure.verdict is verdict


def test_figure_without_floor_is_told_as_it_is() -> None:
    """What photos save has no floor, and no verdict either."""
    assert Figure("compression", "saved on photos", -0.02, "%").verdict is Verdict.FIGURE


def test_report_is_met_only_when_every_floor_is() -> None:
    """One figure below its floor is enough."""
    report = Report(1.0, 3, "restic", [Figure("a", "a", 2.0, floor=2.0), Figure("b", "b", 1.0)])
    assert report.is_met
    report.figures.append(Figure("c", "c", 99.0, "%", floor=100.0))
    assert not report.is_met
    assert "BELOW FLOOR" in report.table()


def test_table_shows_near_misses_as_misses() -> None:
    """A figure of 100.08% against a floor of 100% is not printed as 100%."""
    figure = Figure("stored", "stored size", 100.08, "%", floor=100.0, smaller_is_better=True)
    assert "100.08%" in Report(1.0, 3, "restic", [figure]).table()


def test_report_writes_figures_verdicts_and_circumstances(tmp_path: Path) -> None:
    """The JSON holds what is needed to judge the figures later: scale, rounds, versions, machine."""
    report = Report(0.5, 3, "restic 0.14.0", [Figure("a", "a", 2.5, floor=2.0, aim=3.0)], {"fsync": 1})
    report.write_json(tmp_path / "new" / "figures.json")
    document = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert (document["scale"], document["rounds"], document["restic"]) == (0.5, 3, "restic 0.14.0")
    assert document["figures"][0]["verdict"] == "floor met"
    assert document["facts"] == {"fsync": 1}
    assert document["machine"]["cores"] >= 1


def test_rows_of_an_earlier_run_are_taken_over(tmp_path: Path) -> None:
    """What is measured anew replaces what was; what is not stays, in the order of the table."""
    earlier = [Figure("a", "old a", 1.0, measured_by="first"), Figure("b", "b", 2.0, measured_by="second")]
    Report(1.0, 3, "restic", earlier, {"fsync": 1, "disk": 2}).write_json(tmp_path / "figures.json")
    report = Report(1.0, 3, "restic", [Figure("a", "new a", 3.0, measured_by="first")], {"fsync": 4})
    report.take_over(tmp_path / "figures.json", ["second", "first"])
    assert [figure.work for figure in report.figures] == ["b", "new a"]
    assert report.facts == {"fsync": 4, "disk": 2}
    with pytest.raises(ValueError, match="scale"):
        Report(0.5, 3, "restic").take_over(tmp_path / "figures.json", ["first"])


def test_plot_is_the_same_for_the_same_figures(tmp_path: Path) -> None:
    """The picture changes only when a figure does, so that a diff means something."""
    figures = [
        Figure("a", "first backup", 2.8, floor=2.5),
        Figure("b", "restore", 0.9, floor=2.0),
        Figure("compression", "saved on documents", 78.8, "%", floor=70),
    ]
    plot(figures, tmp_path / "one.svg")
    plot(figures, tmp_path / "two.svg")
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn == (tmp_path / "two.svg").read_bytes()
    assert b"<svg" in drawn


def test_plot_of_nothing_writes_nothing(tmp_path: Path) -> None:
    """A run of rows without ratios leaves the old picture alone."""
    plot([Figure("index", "bytes per chunk", 52.0, "B")], tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()
