"""The row about years: opening and committing with one, and with a hundred thousand, snapshots behind it."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench, Row
from benchmarks.bucket import ENVIRONMENT, address, bucket
from benchmarks.harness import run
from benchmarks.report import Figure

_ROOT = Path(__file__).resolve().parent.parent
_HISTORIES = (1, 1_000, 10_000, 100_000)
_CHUNKS_A_SNAPSHOT = 100
_COMMITS = 400
"""At a hundred thousand snapshots one checkpoint comes in as many."""


def opening(bench: Bench) -> Iterator[Figure]:
    """Each history on a folder and in a bucket: made, opened with an empty and a warm cache, committed to."""
    for medium in ("folder", "bucket"):
        first: dict[str, Any] = {}
        with bench.place("tmpfs", int(4e9 * bench.scale) + 10**9) as folder, ExitStack() as stack:
            endpoint = ""
            if medium == "bucket":
                (folder / "server").mkdir()
                endpoint = stack.enter_context(bucket(folder / "server"))
            for count in _HISTORIES:
                snapshots = max(1, int(count * bench.scale))
                home = folder / str(count)
                home.mkdir()
                url = address(endpoint, str(count)) if endpoint else (home / "tier").as_uri()
                size = ["--snapshots", str(snapshots), "--chunks", str(_CHUNKS_A_SNAPSHOT * snapshots)]
                _probe(bench, "make", url, home, size)
                cold = _probe(bench, "open", url, home)
                warm = _probe(bench, "open", url, home)
                made = _probe(bench, "commit", url, home, [*size, "--commits", str(_COMMITS)])
                later = _probe(bench, "open", url, home)
                first = first or made
                yield from _figures(medium, count, (cold, warm, later), first, made)


def _figures(
    medium: str,
    count: int,
    opened: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    first: dict[str, Any],
    made: dict[str, Any],
) -> Iterator[Figure]:
    cold, warm, later = opened

    def figure(row: str, work: str, got: float, unit: str, floor: float, ours: str) -> Figure:
        return Figure(f"{row}-{medium}-{count}", work, got, unit, floor, smaller_is_better=True, ours=ours)

    yield figure(
        "opening",
        f"opening, {warm['snapshots']:,} snapshots and {warm['chunks']:,} chunks, {medium}",
        *(warm["open_seconds"], "s", 2.0),
        f"{warm['open_cpu_seconds']:.2f} CPU s; with an empty cache {cold['open_seconds']:.2f} s; "
        f"the latest of a label {1e3 * warm['find_seconds']:.0f} ms more",
    )
    yield figure(
        "opening-requests",
        f"its requests, {_COMMITS} commits later",
        *(later["requests"], "", 30),
        f"{warm['requests']} before them, {cold['requests']} with an empty cache; {later['segments']} segments, "
        f"{later['behind_checkpoint']} entries behind the checkpoint",
    )
    yield figure(
        "commit",
        "a commit, against the first history's",
        *(made["mean_ms"] / first["mean_ms"], "×", 1.2),
        f"{made['mean_ms']:.1f} ms with all that comes now and then, median {made['median_ms']:.1f}; "
        f"{made['mean_cpu_ms']:.1f} CPU ms, median {made['median_cpu_ms']:.1f}",
    )
    yield figure(
        "commit-cpu",
        "its CPU, against the first history's",
        *(made["mean_cpu_ms"] / first["mean_cpu_ms"], "×", 1.2),
        "of the client; what else the machine does shows less",
    )
    yield figure(
        "commit-requests",
        "requests of a commit",
        *(made["requests_mean"], "", 10),
        f"median {made['requests_median']:.0f}, at most {made['requests_most']}",
    )


def _probe(bench: Bench, what: str, url: str, home: Path, options: list[str] | None = None) -> dict[str, Any]:
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "benchmarks.opening_probe", what, url, str(home), *(options or [])]
    measurement = run(command, durable=Path("/"), environment=environment)
    bench.say(f"  {what}: {measurement.wall_seconds:.1f} s, {measurement.output.decode().strip()}")
    result: dict[str, Any] = json.loads(measurement.output)
    return result


ROWS = {"opening": Row("opening and committing with 1 to 100,000 snapshots, folder and bucket", opening)}
