"""What is seen while a command works: bars on a terminal, a line now and then elsewhere, nothing with `--json`.

All of it goes to standard error, so that standard output holds the result alone.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from cli.output import duration, note_spoken, size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LINE_SECONDS = 3.0
"""How often a line is written where standard error is no terminal."""


class Reading:
    """How far one gauge is. `total` is None while nobody knows it; `words` stand behind the figures."""

    __slots__ = ("done", "total", "words")

    def __init__(self, done: float, total: float | None, words: str = "") -> None:
        self.done = done
        self.total = total
        self.words = words


class Display(Protocol):
    """Takes the state of all gauges, in the order in which they are shown; called up to ten times a second."""

    def show(self, gauges: Mapping[str, Reading]) -> None:
        """`gauges` by their names."""
        ...


@contextmanager
def display(*, for_machines: bool) -> Iterator[Display]:
    """The display that fits: none with `--json`, bars on a terminal, else lines."""
    if for_machines:
        yield _Nothing()
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield _Lines()


class _Nothing:
    def show(self, gauges: Mapping[str, Reading]) -> None:
        """Nothing."""


class _Lines:
    """One line for all gauges, every three seconds; the first after three: short work says nothing."""

    def __init__(self) -> None:
        self._started = self._last = time.monotonic()

    def show(self, gauges: Mapping[str, Reading]) -> None:
        """Write a line if it is time."""
        now = time.monotonic()
        if now - self._last < LINE_SECONDS:
            return
        self._last = now
        note_spoken()
        parts = [f"{name} {size(each.done)}{_of(each)} {each.words}".rstrip() for name, each in gauges.items()]
        print(f"{duration(now - self._started)}: {'; '.join(parts)}", file=sys.stderr, flush=True)


def _of(reading: Reading) -> str:
    return f" of {size(reading.total)}" if reading.total is not None else ""


class _Bars:
    def __init__(self, bars: "Bars") -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, gauges: Mapping[str, Reading]) -> None:
        """Move the bars."""
        for name, reading in gauges.items():
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task(name, total=None, words="")
            self._bars.update(self._tasks[name], completed=reading.done, total=reading.total, words=reading.words)
        self._bars.refresh()
        note_spoken()


@contextmanager
def _bars() -> Iterator[_Bars]:
    # 60 ms of imports, which only a person at a terminal pays.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bars:
        yield _Bars(bars)
