"""The rows that compare backup and restore of folders with restic's."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks import corpora
from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import Contestant, WedSync, total
from benchmarks.corpora import Corpus, measure
from benchmarks.harness import TOUCHED_BYTES, Measurement, fsynced_write_rate, interleaved, median_of
from benchmarks.report import Figure

T = TypeVar("T")


def first_backup(bench: Bench) -> Iterator[Figure]:
    """A first backup of photos and tables to one directory tier: time, processor, memory, stored size."""
    corpus = bench.corpus("wedding")
    for medium in bench.media:
        floor, aim = {"tmpfs": (3.2, 3.8), "disk": (2.0, None)}[medium]
        with bench.place(medium, int(3.5 * corpus.bytes)) as folder:
            if medium == "disk":
                rate = fsynced_write_rate(folder, size=min(1 << 30, corpus.bytes))
                bench.facts["disk_fsynced_write_mb_per_s"] = round(rate / 1e6)
            sizes: dict[str, int] = {}
            results = _backups(bench, folder, corpus, 1, sizes)
        speed = _ratio(results, "wall_seconds")
        note = ""
        if medium == "disk":
            ours = median_of(results["wedsync"], "wall_seconds")
            bound = sizes["wedsync"] / rate
            note = (
                f"the disk alone needs {bound:.1f} s for what we store ({rate / 1e6:.0f} MB/s fsync'd); we {ours:.1f} s"
            )
        yield _versus(f"first-backup-{medium}", f"first backup, {medium}", speed, floor, aim, results, note=note)
        if medium == "tmpfs":
            yield _share(results, "cpu_seconds", "first-backup-cpu", "its CPU seconds", 31, 27)
        share = 100 * sizes["wedsync"] / sizes["restic"]
        yield Figure(
            *(f"first-backup-stored-{medium}", f"stored size, {medium}", share, "%", 100.0),
            smaller_is_better=True,
            ours=f"{sizes['wedsync'] / 1e6:,.1f} MB",
            theirs=_theirs(sizes, lambda size: f"{size / 1e6:,.1f} MB"),
        )
        yield Figure(
            *(f"first-backup-memory-{medium}", f"peak memory, {corpus.bytes / 1e9:.1f} GB, {medium}"),
            median_of(results["wedsync"], "peak_bytes") / 2**20,
            *("MiB", 512),
            smaller_is_better=True,
            theirs=_theirs(results, lambda runs: f"{median_of(runs, 'peak_bytes') / 2**20:.0f} MiB"),
        )


def first_backup_small(bench: Bench) -> Iterator[Figure]:
    """The same of 0.7 GB on tmpfs, where starting weighs more."""
    corpus = bench.corpus("wedding-small")
    with bench.place("tmpfs", int(3.5 * corpus.bytes)) as folder:
        results = _backups(bench, folder, corpus, 1, {})
    work = f"first backup of {corpus.bytes / 1e9:.1f} GB, tmpfs"
    yield _versus("first-backup-small", work, _ratio(results, "wall_seconds"), 2.8, 3.5, results)


def four_tiers(bench: Bench) -> Iterator[Figure]:
    """The same to four tiers, against a restic backup and three `restic copy`."""
    corpus = bench.corpus("wedding")
    for medium in bench.media:
        floor, aim = {"tmpfs": (10.0, 13.0), "disk": (4.0, None)}[medium]
        with bench.place(medium, int(4.4 * corpus.bytes)) as folder:
            results = _backups(bench, folder, corpus, 4, {}, keep=False)
        speed = _ratio(results, "wall_seconds")
        yield _versus(f"four-tiers-{medium}", f"to four tiers, {medium}", speed, floor, aim, results)


def unchanged(bench: Bench) -> Iterator[Figure]:
    """200,000 files, backed up again: nothing changed, then 1% changed in each round."""
    corpus = bench.corpus("small-files")
    with bench.place("tmpfs", int(6 * corpus.bytes)) as folder:
        contestants: list[Contestant] = bench.contestants()
        repositories = {each.name: fresh(folder, 1, each) for each in contestants}
        for each in contestants:
            each.backup(repositories[each.name], corpus.folder, durable=folder)
        again = {
            each.name: partial(_again, each, repositories[each.name], corpus.folder, folder) for each in contestants
        }
        results = interleaved(bench.rounds, again, say=bench.say)
        work = f"nothing changed, {corpus.files:,} files"
        yield _versus("unchanged", work, _ratio(results, "wall_seconds"), 3.5, 5.0, results)
        changed: dict[str, list[Measurement]] = {each.name: [] for each in contestants}
        for number in range(bench.rounds):
            corpora.change_small_files(corpus.folder, corpus.files, 1.0, generation=number + 1)
            for name, result in interleaved(1, again, say=bench.say).items():
                changed[name].extend(result)
    corpora.remove(corpus)  # it is no longer what its seed says
    bench.forget("small-files")
    work = f"1% changed, {corpus.files:,} files"
    yield _versus("changed-1-percent", work, _ratio(changed, "wall_seconds"), 3.0, 4.0, changed)


def small_files(bench: Bench) -> Iterator[Figure]:
    """200,000 files of 4 KB, first backup."""
    corpus = bench.corpus("small-files")
    for medium in bench.media:
        floor, aim = {"tmpfs": (2.5, 3.0), "disk": (2.0, None)}[medium]
        with bench.place(medium, int(6 * corpus.bytes)) as folder:
            results = _backups(bench, folder, corpus, 1, {})
        work = f"{corpus.files:,} files of 4 KB, {medium}"
        yield _versus(f"small-files-{medium}", work, _ratio(results, "wall_seconds"), floor, aim, results)


def restore_all(bench: Bench) -> Iterator[Figure]:
    """Restore of everything, compared with the source byte by byte in the last round."""
    corpus = bench.corpus("wedding")
    for medium in bench.media:
        floor, aim = {"tmpfs": (2.5, 3.0), "disk": (1.2, None)}[medium]
        with bench.place(medium, int(5.2 * corpus.bytes)) as folder:
            contestants: list[Contestant] = bench.contestants()
            runs: dict[str, Callable[[int], Measurement]] = {}
            for each in contestants:
                repositories = fresh(folder, 1, each)
                each.backup(repositories, corpus.folder, durable=folder)
                runs[each.name] = partial(_restore, bench, each, repositories[0], folder / "restored", corpus)
            results = interleaved(bench.rounds, runs, say=bench.say)
        speed = _ratio(results, "wall_seconds")
        yield _versus(f"restore-{medium}", f"restore of all, {medium}", speed, floor, aim, results)


def compression(bench: Bench) -> Iterator[Figure]:
    """What each class of data saves, on its own in a repository of its own: ours, and restic's beside it."""
    wedding, contracts = bench.corpus("wedding"), bench.corpus("documents")
    classes = {
        "photos": wedding.folder / "photos",
        "database dump": wedding.folder / "tables" / "dump",
        "database files": wedding.folder / "tables" / "cluster",
        "documents": contracts.folder,
    }
    for name, source in classes.items():
        _, size = measure(source)
        stored = {}
        with bench.place("tmpfs", int(3.5 * size) + 10**8) as folder:
            for each in bench.contestants():
                repositories = fresh(folder, 1, each)
                each.backup(repositories, source, durable=folder)
                stored[each.name] = measure(repositories[0])[1]
        saved = {each: 100 * (1 - size_stored / size) for each, size_stored in stored.items()}
        yield Figure(
            *("compression", f"saved on {name}", saved["wedsync"], "%"),
            floor=None if name == "photos" else 70,
            ours=f"{size / 1e6:,.0f} → {stored['wedsync'] / 1e6:,.0f} MB",
            theirs=_theirs(saved, lambda share: f"{share:.1f}%"),
        )


def _backups(
    bench: Bench, folder: Path, corpus: Corpus, tiers: int, sizes: dict[str, int], *, keep: bool = True
) -> dict[str, list[Measurement]]:
    """Interleaved first backups, each into new repositories. `sizes` is told what was stored in one.

    As much memory is touched before each as its repositories may take.
    """

    def measured(each: Contestant, _: int) -> Measurement:
        repositories = fresh(folder, tiers, each)
        result = total(each.backup(repositories, corpus.folder, durable=folder))
        sizes[each.name] = measure(repositories[0])[1]
        if not keep:
            shutil.rmtree(repositories[0].parent)
        return result

    runs = {each.name: partial(measured, each) for each in bench.contestants()}
    touched = max(TOUCHED_BYTES, tiers * corpus.bytes)
    return interleaved(bench.rounds, runs, say=bench.say, touched_bytes=touched)


def _again(each: Contestant, repositories: list[Path], source: Path, durable: Path, _: int) -> Measurement:
    return total(each.backup(repositories, source, durable=durable))


def _restore(
    bench: Bench, each: Contestant, repository: Path, target: Path, corpus: Corpus, number: int
) -> Measurement:
    target.mkdir()
    result = each.restore(repository, target, durable=repository.parent)
    if number == bench.rounds - 1 and (
        difference := first_difference(corpus.folder, each.restored(target, corpus.folder))
    ):
        raise AssertionError(f"{each.name} restored something else: {difference}")
    shutil.rmtree(target)
    return result


def first_difference(source: Path, copy: Path) -> str | None:
    """The first file whose bytes differ or that only one side has, or None."""
    expected, found = digests(source), digests(copy)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            return name
    return None


def digests(folder: Path) -> dict[str, bytes]:
    """BLAKE2 of every file, by its path below the folder."""
    found = {}
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(root, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.file_digest(file, "blake2b").digest()
    return found


def _ratio(results: Mapping[str, list[Measurement]], field: str) -> float:
    return median_of(results["restic"], field) / median_of(results["wedsync"], field)


def _share(
    results: Mapping[str, list[Measurement]], field: str, row: str, work: str, floor: float, aim: float
) -> Figure:
    ours, theirs = median_of(results["wedsync"], field), median_of(results["restic"], field)
    return Figure(
        *(row, work, 100 * ours / theirs, "%", floor, aim),
        smaller_is_better=True,
        ours=f"{ours:.1f} s",
        theirs=_theirs(results, lambda runs: f"{median_of(runs, field):.1f} s"),
    )


def _versus(
    row: str,
    work: str,
    speed: float,
    floor: float,
    aim: float | None,
    results: Mapping[str, list[Measurement]],
    note: str = "",
) -> Figure:
    def words(runs: Sequence[Measurement]) -> str:
        seconds, cpu = (median_of(runs, each) for each in ("wall_seconds", "cpu_seconds"))
        return f"{seconds:.2f} s, {cpu:.1f} CPU s"

    ours = words(results[WedSync.name])
    return Figure(row, work, speed, "×", floor, aim, ours=ours, theirs=_theirs(results, words), note=note)


def _theirs(found: Mapping[str, T], words: Callable[[T], str]) -> str:
    """The newest restic's figure, and those of older ones in brackets."""
    older = {name.removeprefix("restic-"): each for name, each in found.items() if name.startswith("restic-")}
    told = [f"{version}: {words(each)}" for version, each in older.items()]
    return words(found["restic"]) + (f" ({'; '.join(told)})" if told else "")


ROWS = {
    "first-backup": Row("first backup to one tier: time, CPU, stored size, memory", first_backup),
    "first-backup-small": Row("first backup of 0.7 GB", first_backup_small, quick=False),
    "four-tiers": Row("first backup to four tiers, against restic backup + three copies", four_tiers),
    "restore": Row("restore of all", restore_all),
    "small-files": Row("200,000 files of 4 KB, first backup", small_files),
    "unchanged": Row("200,000 files, nothing changed, then 1% changed", unchanged),
    "compression": Row("what each content class saves", compression),
}
