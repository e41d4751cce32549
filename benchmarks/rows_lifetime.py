"""The rows about what goes on beside backups: a prune, a new data key, one file read out of a million."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import corpora
from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import Restic, WedSync, total
from benchmarks.harness import Measurement, interleaved, median_of
from benchmarks.report import Figure
from benchmarks.retention import KEEP, History
from benchmarks.rows_files import first_difference
from benchmarks.rows_retention import history_of, made, master, words

_ROOT = Path(__file__).resolve().parent.parent
_PRUNED_BYTES = 20 * 10**9
_BACKUP_BYTES = int(2.5e9)
_CHUNKS = 10_000_000
_NOT_READ_BACK = 5
"""The packs of the ten million chunks exist in the index alone: what a backup reads back of them is not there."""
_FILES = 1_000_000
_FILE_BYTES = 256


def beside_prune(bench: Bench) -> Iterator[Figure]:
    """A first backup of another folder into a repository with half of its history forgotten, alone and while that is
    pruned.
    """
    size, ours = int(_PRUNED_BYTES * bench.scale), WedSync()
    with bench.place("disk", int(2.8 * size)) as folder:
        history = history_of(bench, folder, size)
        repositories = made(ours, 1, folder, history)
        source = History(folder / "new", int(_BACKUP_BYTES * bench.scale), 1, "beside a prune")
        list(source.write())
        lasted: list[bool] = []

        def backup(with_prune: bool, number: int) -> Measurement:
            home = repositories[0].parent
            shutil.copytree(master(home), home)
            ours.told(["forget", "--keep-tag", KEEP], repositories)
            pruning = ours.start(["prune"], repositories) if with_prune else None
            result = total(ours.backup(repositories, source.folder, durable=home))
            if pruning is not None:
                lasted.append(pruning.poll() is None)
                if pruning.wait():
                    raise AssertionError("the prune beside a backup failed")
            if number == bench.rounds - 1 and ours.check(repositories) != history.kept + 1:
                raise AssertionError("not all snapshots are there")
            shutil.rmtree(home)
            return result

        runs = {"alone": partial(backup, False), "beside a prune": partial(backup, True)}
        results = interleaved(bench.rounds, runs, say=bench.say)
    alone, beside = (median_of(results[each], "wall_seconds") for each in runs)
    work = f"throughput of a backup of {source.size / 1e9:.2f} GB while a prune of {size / 1e9:.1f} GB runs"
    yield Figure(
        *("beside-prune", work, 100 * alone / beside, "%", 90),
        ours=f"alone: {words(results['alone'])}; beside it: {words(results['beside a prune'])}",
        note=f"the prune still ran when the backup ended in {sum(lasted)} of {len(lasted)} rounds",
    )


def key_rotated(bench: Bench) -> Iterator[Figure]:
    """A backup of a folder of which half changed and all is read again, as ever and as the first after a new data key,
    under an index of ten million chunks.
    """
    chunks, ours = int(_CHUNKS * bench.scale), WedSync()
    with bench.place("disk", int(10 * _BACKUP_BYTES * bench.scale) + 200 * chunks) as folder:
        source = History(folder / "source", int(1.5 * _BACKUP_BYTES * bench.scale), 2, "key rotated")
        versions = source.write()
        next(versions)
        home = folder / "home"
        home.mkdir()
        repositories = [home / "tier-0"]
        probe = [sys.executable, "-m", "benchmarks.opening_probe", "make", repositories[0].as_uri(), str(home)]
        subprocess.run(
            [*probe, "--snapshots", "1", "--chunks", str(chunks)], check=True, stdout=subprocess.DEVNULL, cwd=_ROOT
        )
        (home / "key").rename(home / "wedsync.key")
        store = partial(ours.measured, ["backup", str(source.folder)], repositories, accept=(0, _NOT_READ_BACK))
        store(durable=home)
        home.rename(master(home))
        next(versions)
        sent: dict[str, int] = {}

        def backup(name: str, number: int) -> Measurement:
            shutil.copytree(master(home), home)
            if name == "rotated":
                ours.told(["key", "rotate", "--data"], repositories)
            _touch(source.folder)
            result = store(durable=home)
            sent[name] = json.loads(result.output)["tiers"]["tier-0"]["bytes_sent"]
            if number == bench.rounds - 1:
                _prove_restored(ours, repositories, source.folder)
            shutil.rmtree(home)
            return result

        runs = {name: partial(backup, name) for name in ("ordinary", "rotated")}
        results = interleaved(bench.rounds, runs, say=bench.say)
        size = corpora.measure(source.folder)[1]
    ordinary, rotated = (median_of(results[each], "wall_seconds") for each in runs)
    unchanged = size - source.changed_bytes
    told = f"ordinary: {sent['ordinary'] / 1e6:,.1f} MB sent; after a new key: {sent['rotated'] / 1e6:,.1f} MB"
    kept = 100 * (1 - max(0, sent["rotated"] - sent["ordinary"]) / unchanged)
    work = f"data key rotated under {chunks / 1e6:.2f} million chunks"
    yield Figure("key-deduplication", f"{work}: deduplication kept", kept, "%", 95, ours=told)
    yield Figure(
        *("key-backup", f"{work}: the first backup after it, to an ordinary one", rotated / ordinary, "×", 1.2),
        smaller_is_better=True,
        ours=f"ordinary: {words(results['ordinary'])}; after it: {words(results['rotated'])}",
        note=f"{unchanged / 1e6:,.1f} of {size / 1e6:,.1f} MB were stored before; all of it is read and compared",
    )


def dump(bench: Bench) -> Iterator[Figure]:
    """The first byte of a file in a snapshot of a million."""
    count = max(1_000, int(_FILES * bench.scale))
    with bench.place("disk", 9_000 * count) as folder:
        source = folder / "source"
        corpora.small_files(source, count, _FILE_BYTES)
        path = sorted(source.rglob("*.jpg"))[count // 4]
        expected, runs = path.read_bytes(), {}
        for each in (WedSync(), Restic(bench.work)):
            repositories = fresh(folder, 1, each)
            each.backup(repositories, source, durable=folder)
            runs[each.name] = partial(_dumped, each, repositories[0], source, path, expected)
        results = interleaved(max(3, bench.rounds), runs, say=bench.say)
    seconds = median_of(results["wedsync"], "wall_seconds")
    yield Figure(
        *("dump", f"first byte of a file in a snapshot of {count:,}", seconds, "s", 0.5),
        smaller_is_better=True,
        ours=words(results["wedsync"]),
        theirs=words(results["restic"]),
        note="from the start of the command; the whole file compared",
    )


def _dumped(each: WedSync | Restic, repository: Path, source: Path, path: Path, expected: bytes, _: int) -> Measurement:
    result = each.dump(repository, source, path)
    if result.output != expected:
        raise AssertionError(f"{each.name} gave another file")
    return result


def _touch(folder: Path) -> None:
    """Give every file another time: whoever compares times reads it again."""
    for root, _, names in os.walk(folder):
        for name in names:
            os.utime(os.path.join(root, name))


def _prove_restored(ours: WedSync, repositories: Sequence[Path], source: Path) -> None:
    target = repositories[0].parent / "restored"
    target.mkdir()
    ours.restore(repositories[0], target, durable=target)
    if difference := first_difference(source, target):
        raise AssertionError(f"restored something else: {difference}")


ROWS = {
    "beside-prune": Row("throughput of a backup while a prune runs", beside_prune, quick=False),
    "key-rotated": Row("a new data key under ten million chunks: deduplication, the first backup", key_rotated),
    "dump": Row("first byte of a file in a snapshot of a million", dump),
}
