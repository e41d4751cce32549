"""What the benchmark found: figures with their floors, as a table, as JSON and as a picture."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """How a figure stands to its floor and its aim."""

    AIM = "aim met"
    FLOOR = "floor met"
    BELOW = "BELOW FLOOR"
    FIGURE = ""  # reported as it is


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    `got` is compared with `floor` and `aim`: larger is better, unless `smaller_is_better`. `ours` and
    `theirs` say in words what it was made of. `measured_by` is the name of the row for `--rows`.
    """

    row: str
    work: str
    got: float
    unit: str = "×"
    floor: float | None = None
    aim: float | None = None
    smaller_is_better: bool = False
    ours: str = ""
    theirs: str = ""
    note: str = ""
    measured_by: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the floor and the aim are met."""
        if self.floor is None:
            return Verdict.FIGURE
        sign = -1 if self.smaller_is_better else 1
        if sign * self.got < sign * self.floor:
            return Verdict.BELOW
        return Verdict.AIM if self.aim is not None and sign * self.got >= sign * self.aim else Verdict.FLOOR


@dataclass
class Report:
    """All figures of one run of the benchmark, and where it ran."""

    scale: float
    rounds: int
    restic: str
    figures: list[Figure] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    against: str = "restic"

    @property
    def is_met(self) -> bool:
        """Whether no figure is below its floor."""
        return all(figure.verdict is not Verdict.BELOW for figure in self.figures)

    def table(self) -> str:
        """The figures in columns, as plain text that is Markdown too."""
        head = ("work", "floor", "aim", "got", "verdict", "ours", self.against)
        lines = [head, *(_cells(figure) for figure in self.figures)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        rendered = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines
        ]
        rendered.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        notes = [f"- {figure.work}: {figure.note}" for figure in self.figures if figure.note]
        return "\n".join((*rendered, *([""] if notes else []), *notes))

    def take_over(self, path: Path, order: Sequence[str]) -> None:
        """Add the figures of an earlier run at the same scale, but those of rows that this run has; in that order.

        Raises `ValueError` where the earlier run was of another scale or against another restic.
        """
        earlier = json.loads(path.read_text())
        if (earlier["scale"], earlier["restic"]) != (self.scale, self.restic):
            raise ValueError(f"{path} was measured at scale {earlier['scale']} against {earlier['restic']}")
        measured = {figure.measured_by for figure in self.figures}
        for found in earlier["figures"]:
            del found["verdict"]  # it follows from the rest
            figure = Figure(**found)
            if figure.measured_by not in measured:
                self.figures.append(figure)
        self.figures.sort(key=lambda figure: order.index(figure.measured_by))
        self.facts = {**earlier["facts"], **self.facts}

    def write_json(self, path: Path) -> None:
        """Figures, verdicts and circumstances."""
        document = {
            "machine": machine(),
            "scale": self.scale,
            "rounds": self.rounds,
            "restic": self.restic,
            "facts": self.facts,
            "figures": [{**asdict(figure), "verdict": figure.verdict.value} for figure in self.figures],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def machine() -> dict[str, object]:
    """What the figures depend on."""
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def plot(figures: Sequence[Figure], path: Path) -> None:
    """Ratios to restic as bars with their floors, and what is saved per content class, as SVG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    ratios = [figure for figure in figures if figure.unit == "×" and not figure.smaller_is_better]
    saved = [figure for figure in figures if figure.row == "compression"]
    if not ratios and not saved:
        return
    with mpl.rc_context({"svg.hashsalt": "wedsync", "font.size": 9}):
        canvas, axes = pyplot.subplots(
            2,
            1,
            figsize=(9, 1.6 + 0.32 * (len(ratios) + len(saved))),
            height_ratios=[max(1, len(ratios)), max(1, len(saved))],
        )
        for place, figure in enumerate(reversed(ratios)):
            axes[0].barh(place, figure.got, color="#b33" if figure.verdict is Verdict.BELOW else "#2a7f62", height=0.6)
            axes[0].text(figure.got, place, f" {figure.got:.1f}×", va="center")
            if figure.floor is not None:
                axes[0].plot([figure.floor] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
        axes[0].set_yticks(range(len(ratios)), [figure.work for figure in reversed(ratios)])
        axes[0].axvline(1, color="grey", linewidth=0.8, linestyle=":")
        axes[0].set_title("times as fast as restic, both durable (black: the floor)", loc="left")
        for place, figure in enumerate(reversed(saved)):
            axes[1].barh(place, figure.got, color="#2a5d7f", height=0.6)
            axes[1].text(max(figure.got, 0), place, f" {figure.got:.1f}%", va="center")
        axes[1].set_yticks(range(len(saved)), [figure.work for figure in reversed(saved)])
        axes[1].set_xlim(0, 100)
        axes[1].set_title("bytes saved by compression and deduplication, per cent, per class", loc="left")
        for each in axes:
            each.spines[["top", "right"]].set_visible(False)
        canvas.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, metadata={"Date": None})
        pyplot.close(canvas)


def _cells(figure: Figure) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        if value is None:
            return ""
        digits = 0 if abs(value) >= 1000 or value == round(value) else 2
        return f"{value:,.{digits}f}{_suffix(figure.unit)}"

    bound = "≤ " if figure.smaller_is_better else "≥ "
    return (
        figure.work,
        bound + number(figure.floor) if figure.floor is not None else "",
        bound + number(figure.aim) if figure.aim is not None else "",
        number(figure.got),
        figure.verdict.value,
        figure.ours,
        figure.theirs,
    )


def _suffix(unit: str) -> str:
    return unit if unit in {"×", "%"} else f" {unit}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
