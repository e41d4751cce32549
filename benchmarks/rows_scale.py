"""The rows about size: memory at ten times the data, a real 25 GB restored, a 100 GB stream, 5 million chunks."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import corpora
from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import WedSync, total
from benchmarks.harness import Measurement, run
from benchmarks.report import Figure
from benchmarks.rows_files import digests

_ROOT = Path(__file__).resolve().parent.parent
_STREAM_BYTES = 100 * 10**9
_INDEX_CHUNKS = 5_000_000
_USERS_HOURS = 4.0


def large(bench: Bench) -> Iterator[Figure]:
    """2.5 GB and 25 GB: the same peak of memory. The 25 GB are restored and compared.

    At most two copies of the large corpus are on the disk at a time: it is removed before it is restored, and
    compared by digests that were taken before.
    """
    ours = WedSync()
    small = bench.corpus("wedding")
    with bench.place("disk", 2 * small.bytes) as folder:
        repositories = fresh(folder, 1, ours)
        small_peak = total(ours.backup(repositories, small.folder, durable=folder)).peak_bytes
    with bench.place("disk", int(21 * small.bytes)):
        pass  # refuse before 25 GB are built, not after
    corpus = bench.corpus("wedding-large")
    expected = digests(corpus.folder)
    with bench.place("disk", int(1.1 * corpus.bytes)) as folder:
        repositories = fresh(folder, 1, ours)
        made = total(ours.backup(repositories, corpus.folder, durable=folder))
        corpora.remove(corpus)
        bench.forget("wedding-large")
        target = folder / "restored"
        target.mkdir()
        restored = ours.restore(repositories[0], target, durable=folder)
        if digests(target) != expected:
            raise AssertionError("what was restored is not what was backed up")
    size = corpus.bytes / 1e9
    yield Figure(
        *("memory-large", f"peak memory, {size:.1f} GB", made.peak_bytes / 2**20, "MiB", 512),
        smaller_is_better=True,
        ours=f"restore: {restored.peak_bytes / 2**20:.0f} MiB",
    )
    difference = 100 * abs(made.peak_bytes - small_peak) / small_peak
    work = f"peak memory, {small.bytes / 1e9:.1f} GB against {size:.1f} GB: difference"
    yield Figure(
        *("memory-difference", work, difference, "%", 20),
        smaller_is_better=True,
        ours=f"{small_peak / 2**20:.0f} and {made.peak_bytes / 2**20:.0f} MiB",
    )
    yield Figure(*("large-backup", f"backup of {size:.1f} GB, disk"), *_rate(corpus.bytes, made))
    yield Figure(
        *("large-restore", f"restore of {size:.1f} GB, disk, every byte compared"), *_rate(corpus.bytes, restored)
    )


def stream(bench: Bench) -> Iterator[Figure]:
    """100 GB that no disk here holds, proven by the receiving tier."""
    size = int(_STREAM_BYTES * bench.scale)
    result, _ = _probe(bench, "benchmarks.stream_probe", ["--bytes", str(size)])
    rate = result["bytes"] / result["seconds"]
    hours = _STREAM_BYTES / rate / 3600
    own = result["cpu_seconds"] - result["proving_cpu_seconds"]
    yield Figure(
        *("stream", f"stream of {size / 1e9:,.0f} GB: 100 GB against the user's 4 hours", _USERS_HOURS / hours),
        unit="× as fast",
        floor=10.0,
        ours=f"{rate / 1e6:.0f} MB/s, 100 GB in {60 * hours:.1f} min",
        note=f"every byte compared; {own / size * 1e9:.2f} CPU s a GB of ours, "
        f"{result['proving_cpu_seconds'] / size * 1e9:.2f} of the tier that proves, on the same cores",
    )
    yield Figure(
        *("stream-memory", f"peak memory, stream of {size / 1e9:,.0f} GB", result["peak_bytes"] / 2**20, "MiB", 512),
        smaller_is_better=True,
    )


def index(bench: Bench) -> Iterator[Figure]:
    """The index at five million chunks: 5 TB of photos."""
    chunks = int(_INDEX_CHUNKS * bench.scale)
    with bench.place("tmpfs", 200 * chunks) as folder:
        segments = folder / "segments"
        segments.mkdir()
        built, _ = _probe(bench, "benchmarks.index_probe", ["build", str(segments), "--chunks", str(chunks)])
        found, _ = _probe(bench, "benchmarks.index_probe", ["search", str(segments)])
    count = found["chunks"]
    per_chunk = found["resident_bytes"] / count
    work = f"index of {count / 1e6:.2f} million chunks"
    yield Figure(
        *("index-stored", f"{work}: bytes per chunk, stored", built["stored_bytes"] / count, "B"),
        smaller_is_better=True,
        ours=f"{built['segments']:.0f} segments, {built['chunks_added_per_second']:,.0f} chunks/s added",
    )
    yield Figure(
        *("index-memory", f"{work}: bytes per chunk, resident", per_chunk, "B"),
        smaller_is_better=True,
        ours=f"{found['private_bytes'] / count:.2f} of them private, the rest file pages that the kernel can drop",
        note=f"50 million chunks would take {50e6 * per_chunk / 1e9:.1f} GB of file pages when all were touched",
    )
    yield Figure(
        *("index-lookups", f"{work}: lookups of known chunks", found["hits_per_second"], "/s"),
        ours=f"unknown ones: {found['misses_per_second']:,.0f}/s, one thread",
    )


def fifty(bench: Bench) -> Iterator[Figure]:
    """Fifty backups of one organisation at once, in one process; every byte is read again."""
    with bench.place("disk", int(3.5e9 * bench.scale)) as folder:
        module, words = "benchmarks.fifty_probe", [str(folder), "--scale", str(bench.scale)]
        made, _ = _probe(bench, module, ["make", *words])
        result, _ = _probe(bench, module, ["run", *words])
        checked, _ = _probe(bench, module, ["check", *words])
    if checked["problems"] or checked["snapshots"] != result["backups"]:
        raise AssertionError("what was backed up at once cannot all be read again")
    work = f"fifty at once, {made['source_bytes'] / 1e9:.1f} GB, half of it shared"
    yield Figure(
        *("fifty-memory", f"peak memory, {work}", result["peak_bytes"] / 2**20, "MiB", 1536),
        smaller_is_better=True,
        ours=f"{result['seconds']:.1f} s, {result['packs']:.0f} packs",
    )
    ratio = result["stored_bytes"] / made["unique_bytes"]
    yield Figure(*("fifty-stored", f"{work}: stored bytes to unique ones", ratio, "×"), smaller_is_better=True)


def _rate(size: int, measurement: Measurement) -> tuple[float, str]:
    return size / measurement.wall_seconds / 1e6, "MB/s"


def _probe(bench: Bench, module: str, arguments: Sequence[str]) -> tuple[dict[str, float], Measurement]:
    """A probe in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    measurement = run([sys.executable, "-m", module, *arguments], durable=Path("/"), environment=environment)
    bench.say(f"  {module.rpartition('.')[2]}: {measurement.wall_seconds:.1f} s")
    result: dict[str, float] = json.loads(measurement.output)
    return result, measurement


ROWS = {
    "large": Row("peak memory at 2.5 and 25 GB; a real 25 GB backed up, restored, compared", large, quick=False),
    "stream": Row("100 GB stream to a tier that proves and drops", stream),
    "index": Row("index of five million chunks", index),
    "fifty": Row("fifty backups of one organisation at once, in one process", fifty, quick=False),
}
