"""What every row of the benchmark is given: places to work in, corpora, and the contestants."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants import Contestant, Restic, WedSync
from benchmarks.corpora import Corpus
from benchmarks.harness import warm
from benchmarks.report import Figure
from benchmarks.restic_packages import PACKAGES

RAM = Path("/dev/shm")


@dataclass(frozen=True)
class Row:
    """One line or more of the table. `measure` yields its figures; `quick` is for the short run too."""

    summary: str
    measure: "Callable[[Bench], Iterator[Figure]]"
    quick: bool = True


@dataclass
class Bench:
    """The circumstances of one run. `media`: what repositories lie on, `tmpfs` and `disk`."""

    work: Path
    scale: float
    rounds: int
    media: tuple[str, ...] = ("tmpfs", "disk")
    restics: tuple[str, ...] = tuple(PACKAGES)
    say: Callable[[str], None] = print
    facts: dict[str, object] = field(default_factory=dict)
    _corpora: dict[str, Corpus] = field(default_factory=dict)

    def contestants(self) -> list[Contestant]:
        """Ours and theirs: what is compared is the newest; older ones are told beside it."""
        return [WedSync(), *(Restic(self.work, version) for version in self.restics)]

    def corpus(self, kind: str) -> Corpus:
        """The corpus at this run's scale, built on first use in a process of its own, and in the page cache."""
        if kind not in self._corpora:
            self.say(f"corpus {kind} at scale {self.scale:g}")
            command = [sys.executable, "-m", "benchmarks.corpora", kind, "--work", str(self.work)]
            done = subprocess.run(
                [*command, "--scale", repr(self.scale)], check=True, stdout=subprocess.PIPE, cwd=_root(), text=True
            )
            facts = json.loads(done.stdout)
            self._corpora[kind] = Corpus(**{**facts, "folder": Path(facts["folder"])})
        corpus = self._corpora[kind]
        if corpus.bytes < 8 * 10**9:
            warm(corpus.folder)
        return corpus

    def forget(self, kind: str) -> None:
        """The corpus was removed by a row that needed its space."""
        self._corpora.pop(kind, None)

    @contextmanager
    def place(self, medium: str, needs: int) -> Iterator[Path]:
        """An empty folder on `disk` or `tmpfs` with room for `needs` bytes, removed afterwards."""
        parent = self.work if medium == "disk" else RAM
        parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(parent).free
        if free < needs:
            raise NoRoom(f"{parent} has {free / 1e9:.1f} GB free, {needs / 1e9:.1f} GB are needed")
        folder = parent / f"wedsync-bench-{os.getpid()}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


class NoRoom(Exception):
    """A row needs more space than there is; it is left out, and the report says so."""


def fresh(folder: Path, count: int, contestant: Contestant) -> list[Path]:
    """New repositories of a contestant below the folder: what was there is gone."""
    home = folder / contestant.name
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    repositories = [home / f"tier-{number}" for number in range(count)]
    contestant.initialise(repositories)
    return repositories


def _root() -> Path:
    return Path(__file__).resolve().parent.parent
