"""Fifty backups of one organisation at once, in one process: peak memory, and what is stored. Prints JSON.

`make` writes the sources: each of 20 to 50 MB, half of it the same files for all, nothing that compresses. `run` backs
them up over one open repository, each in a thread of its own, with one workshop, as a worker does; then every
snapshot is read again from the tier, in a process of its own (`check`).
"""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.memory import own_memory
from benchmarks.seeded import Seeded
from repository.backup.backup import BackupOptions, BackupResult, backup
from repository.backup.sharing import Sharing
from repository.backup.workshop import Workshop
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from repository.upkeep.check import check
from sources.directory import DirectorySource

SMALLEST = 20_000_000
LARGEST = 50_000_000
FILE_LENGTHS = (40_000, 300_000, 700_000, 2_500_000, 6_000_000, 12_000_000)


def make(folder: Path, count: int, scale: float) -> dict[str, Any]:
    """The sources, and how many bytes differ. Shared files are links to one pool."""
    pool = folder / "pool"
    pool.mkdir(parents=True)
    lengths = _fill(pool, "pool", int(LARGEST * scale / 2), scale)
    unique: set[int] = set()
    own_bytes = source_bytes = 0
    for number in range(count):
        source = folder / f"source-{number:02}"
        source.mkdir()
        half = int((SMALLEST + (LARGEST - SMALLEST) * number / max(1, count - 1)) * scale / 2)
        taken = 0
        for place, length in enumerate(lengths):
            if taken + length > half:
                continue
            (source / f"shared-{place}").hardlink_to(pool / f"pool-{place}")
            unique.add(place)
            taken += length
        own = sum(_fill(source, f"own-{number}", half, scale))
        own_bytes += own
        source_bytes += taken + own
    return {
        "source_bytes": source_bytes,
        "unique_bytes": own_bytes + sum(lengths[place] for place in unique),
    }


def _fill(folder: Path, name: str, size: int, scale: float) -> list[int]:
    """Files of so many bytes in all; returns their lengths."""
    stream, lengths = Seeded("fifty", name), list[int]()
    while size > 0:
        length = min(size, max(1000, int(FILE_LENGTHS[len(lengths) % len(FILE_LENGTHS)] * scale)))
        (folder / f"{name.partition('-')[0]}-{len(lengths)}").write_bytes(stream.bytes(length))
        lengths.append(length)
        size -= length
    return lengths


def back_up_all(folder: Path, url: str, key: KeyFile, budget: int) -> dict[str, Any]:
    """All sources at once."""
    store = open_tier(url, name="tier")
    sources = sorted(folder.glob("source-*"))
    with Repository.open([store], key) as repository:
        sharing = Sharing(repository, Workshop(budget))

        def one(source: Path) -> BackupResult:
            options = BackupOptions(run_token=source.name, label=source.name)
            return backup(repository, DirectorySource(str(source)), options=options, sharing=sharing)

        before, busy = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(len(sources)) as pool:
            results = list(pool.map(one, sources))
        seconds, used = time.perf_counter() - before, time.process_time() - busy
        packs = [info.size for info in store.list("packs/")]
        return {
            "backups": len(results),
            "seconds": seconds,
            "cpu_seconds": used,
            "packs": len(packs),
            "stored_bytes": sum(packs),
            "peak_bytes": own_memory()["VmHWM"],
        }


def check_all(url: str, key: KeyFile) -> dict[str, Any]:
    """Whether every byte of every snapshot is there."""
    with Repository.open([open_tier(url, name="tier")], key) as repository:
        report = check(repository, read_percent=100)
        return {"snapshots": len(repository.snapshots()), "problems": len(report.findings)}


def main() -> int:
    """One of the three."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fifty_probe", description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=["make", "run", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--budget-mb", type=int, default=1024)
    arguments = parser.parse_args()
    sources, url = arguments.folder / "sources", f"file://{arguments.folder}/tier"
    path = arguments.folder / "key"
    if arguments.action == "make":
        result = make(sources, arguments.count, arguments.scale)
        Repository.init([open_tier(url, name="tier")], KeyFile.create(path)).close()
    elif arguments.action == "run":
        result = back_up_all(sources, url, KeyFile.load(path), arguments.budget_mb << 20)
    else:
        result = check_all(url, KeyFile.load(path))
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
