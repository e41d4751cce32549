"""A repository with a long history: how long it takes to open, and to commit, from the first snapshot to the last.

`fill` commits snapshots one after the other to a folder tier (manifests like those of real backups, no packs, so that
the log is all that is measured); `open` opens the tier in a process of its own. Prints JSON.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from benchmarks.seeded import Seeded
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.stored.snapshot import SnapshotManifest, Totals
from repository.tiers.folder.store import DirectoryObjectStore

_LABELS = 50
_COUNTED = 500


def fill(folder: Path, snapshots: int) -> dict[str, float]:
    """Commit that many; the median of the first and of the last ones, in milliseconds of processor time."""
    KeyFile.create(folder / "key")
    store = DirectoryObjectStore(str(folder / "tier"), "tier")
    seconds: list[float] = []
    with Repository.init([store], KeyFile.load(folder / "key")) as repository:
        tier = repository.tiers[0]
        domain = repository.keys.active().identity_id.hex()
        for number in range(snapshots):
            root = bytes(Seeded("root", number).bytes(32)).hex()
            manifest = SnapshotManifest(
                time_ns=number * 60 * 10**9,
                run_token=f"run-{root[:32]}",
                label=f"source {number % _LABELS}",
                root=(root,),
                domain=domain,
                totals=Totals(files=number, folders=7, chunks=number, source_bytes=number << 20),
            )
            started = time.process_time()
            tier.commit_snapshot(manifest, packs=())
            tier.leave_checkpoint()
            seconds.append(time.process_time() - started)
    counted = min(_COUNTED, snapshots // 2)
    return {
        "first_ms": 1e3 * statistics.median(seconds[:counted]),
        "last_ms": 1e3 * statistics.median(seconds[-counted:]),
        "mean_ms": 1e3 * statistics.fmean(seconds),
    }


def open_again(folder: Path) -> dict[str, float]:
    """Open, and look for the latest snapshot of a source."""
    key = KeyFile.load(folder / "key")
    started = time.perf_counter()
    with Repository.open([DirectoryObjectStore(str(folder / "tier"), "tier")], key) as repository:
        opened = time.perf_counter()
        repository.find_snapshot("latest", label="source 7")
        found = time.perf_counter()
        count = len(repository.tiers[0].snapshots())
    return {"snapshots": count, "open_seconds": opened - started, "find_seconds": found - opened}


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.opening_probe")
    parser.add_argument("what", choices=("fill", "open"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--snapshots", type=int, default=1000)
    options = parser.parse_args()
    result = fill(options.folder, options.snapshots) if options.what == "fill" else open_again(options.folder)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
