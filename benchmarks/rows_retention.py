"""The rows about the second half of a repository's life: letting go, and freeing the space."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import Restic, WedSync, total
from benchmarks.corpora import measure
from benchmarks.harness import Measurement, interleaved, median_of
from benchmarks.report import Figure
from benchmarks.retention import KEEP, History
from benchmarks.rows_files import first_difference

_BYTES = 20 * 10**9
_SNAPSHOTS = 1_000
_SNAPSHOTS_MIN = 60
_TIERS = 4


def prune(bench: Bench) -> Iterator[Figure]:
    """Forget every other snapshot and prune, on one tier, against `restic forget --prune`; the space afterwards."""
    size = int(_BYTES * bench.scale)
    with bench.place("disk", int(3.5 * size)) as folder:
        history = history_of(bench, folder, size)
        runs: dict[str, Callable[[int], Measurement]] = {}
        stored: dict[str, int] = {}
        for each in (WedSync(), Restic(bench.work)):
            repositories = made(each, 1, folder, history)
            runs[each.name] = partial(_pruned, bench, each, repositories, history, stored)
        results = interleaved(bench.rounds, runs, say=bench.say)
    ours, theirs = (median_of(results[each], "wall_seconds") for each in ("wedsync", "restic"))
    work = f"forget and prune half of {history.versions:,} snapshots, {size / 1e9:.1f} GB"
    yield Figure(
        "prune", work, theirs / ours, "×", 3.0, 5.0, ours=words(results["wedsync"]), theirs=words(results["restic"])
    )
    needed = history.needed_bytes
    yield Figure(
        *("prune-space", "space after it, to what the kept snapshots need", stored["wedsync"] / needed, "×", 1.05),
        smaller_is_better=True,
        ours=f"{stored['wedsync'] / 1e6:,.1f} MB",
        theirs=f"{stored['restic'] / 1e6:,.1f} MB",
        note=f"needed: {needed / 1e6:,.1f} MB of contents, not counting trees and index; every stored byte read "
        "again, the newest snapshot compared",
    )


def prune_four_tiers(bench: Bench) -> Iterator[Figure]:
    """The same of a quarter of the bytes on four tiers at once, against one of ours."""
    size = int(_BYTES * bench.scale / _TIERS)
    ours = WedSync()
    with bench.place("disk", int(2 * (_TIERS + 1) * size)) as folder:
        history = history_of(bench, folder, size)
        runs: dict[str, Callable[[int], Measurement]] = {}
        for name, tiers in (("four", _TIERS), ("one", 1)):
            home = folder / name
            home.mkdir()
            runs[name] = partial(_pruned, bench, ours, made(ours, tiers, home, history), history, {})
        results = interleaved(bench.rounds, runs, say=bench.say)
    four, one = (median_of(results[each], "wall_seconds") for each in ("four", "one"))
    work = f"forget and prune on four tiers, {size / 1e9:.1f} GB on each, to the time of one"
    yield Figure(
        *("prune-four-tiers", work, four / one, "×", 1.5),
        smaller_is_better=True,
        ours=f"four: {words(results['four'])}; one: {words(results['one'])}",
    )


def history_of(bench: Bench, folder: Path, size: int) -> History:
    """The history of this run's scale, of so many bytes."""
    return History(folder / "source", size, max(_SNAPSHOTS_MIN, int(_SNAPSHOTS * bench.scale)))


def made(each: WedSync | Restic, tiers: int, folder: Path, history: History) -> list[Path]:
    """Repositories with the whole history; a master copy of them lies beside."""
    repositories = fresh(folder, tiers, each)
    shutil.rmtree(history.folder, ignore_errors=True)
    if isinstance(each, WedSync):
        each.add_history(repositories, history)
    else:
        for stays in history.write():
            each.add(repositories[0], history.folder, KEEP if stays else "other")
    home = repositories[0].parent
    home.rename(master(home))
    return repositories


def master(home: Path) -> Path:
    """Where the copy lies that runs are made of."""
    return home.with_name(f"{home.name}-master")


def _pruned(
    bench: Bench,
    each: WedSync | Restic,
    repositories: Sequence[Path],
    history: History,
    stored: dict[str, int],
    number: int,
) -> Measurement:
    """A fresh copy of the master, forgotten from and pruned; proven in the last round."""
    home = repositories[0].parent
    shutil.copytree(master(home), home)
    result = total(each.forget_and_prune(repositories, KEEP, durable=home))
    stored[each.name] = measure(repositories[0])[1]
    if number == bench.rounds - 1:
        _prove(each, repositories, history)
    shutil.rmtree(home)
    return result


def _prove(each: WedSync | Restic, repositories: Sequence[Path], history: History) -> None:
    found = each.check(repositories)
    if found != history.kept:
        raise AssertionError(f"{each.name} kept {found} snapshots, {history.kept} should stay")
    target = repositories[0].parent / "restored"
    target.mkdir()
    each.restore(repositories[0], target, durable=target)
    if difference := first_difference(history.folder, each.restored(target, history.folder)):
        raise AssertionError(f"{each.name} restored something else: {difference}")


def words(runs: Sequence[Measurement]) -> str:
    """The medians."""
    wall, cpu = (median_of(runs, each) for each in ("wall_seconds", "cpu_seconds"))
    return f"{wall:.2f} s, {cpu:.1f} CPU s"


ROWS = {
    "prune": Row("forget and prune half of 1,000 snapshots, one tier; the space afterwards", prune, quick=False),
    "prune-four-tiers": Row("the same on four tiers, against one of ours", prune_four_tiers, quick=False),
}
