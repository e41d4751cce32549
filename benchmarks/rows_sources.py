"""Databases and buckets as sources, against the programs that people use for them, on the same server at the same time.

Theirs write to a disk what ours writes to a tier on the same disk; both are synced, and that counts. The servers'
processor time counts for nobody, and slows both.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.bench import Bench, Row, fresh
from benchmarks.bucket import ACCESS_KEY, ENVIRONMENT, SECRET_KEY, address, bucket
from benchmarks.contestants import Restic, WedSync, total
from benchmarks.corpora import GB, measure
from benchmarks.documents import WORDS
from benchmarks.harness import Measurement, interleaved, median_of, run
from benchmarks.postgres import Postgres
from benchmarks.report import Figure
from benchmarks.restic_packages import rclone
from repository.tiers.location import s3_options
from repository.tiers.s3.credentials import credentials_from
from sources.s3.bucket import Bucket
from sources.s3.listing import list_objects
from sources.s3.objects import ObjectTable

T = TypeVar("T")
_FILES, _UNCHANGED = 2_000, 100_000
_RELATIONS_PER_DUMP = 1.5
"""Bytes of relation files, indexes included, for a byte that COPY prints of them."""


def dump(bench: Bench) -> Iterator[Figure]:
    """A first dump of a database, to a tier and to a folder."""
    wanted = int(2 * GB * bench.scale)
    with bench.place("disk", 8 * wanted + GB) as disk:
        disk.chmod(0o755)
        with Postgres(disk / "postgres", disk / "postgres-tools") as server:
            bench.say(f"  a database whose dump has about {wanted / 1e6:.0f} MB")
            server.populate(int(wanted * _RELATIONS_PER_DUMP), WORDS)
            ours, repositories = WedSync(), list[Path]()
            url = f"postgres://postgres@/wedding?host={server.folder.parent}"
            target = disk / "dump"
            told: dict[str, Any] = {}

            def back_up(_number: int) -> Measurement:
                repositories[:] = fresh(disk, 1, ours)
                return ours.measured(["backup", url], repositories, durable=disk)

            def dump_to_disk(_number: int) -> Measurement:
                shutil.rmtree(target, ignore_errors=True)
                command: list[str | Path] = [
                    server.program("pg_dump"),
                    "-h",
                    server.folder.parent,
                    "-U",
                    "postgres",
                    "-Fd",
                    "-j2",
                ]
                return run([*command, "--compress=zstd", "-f", target, "wedding"], durable=disk)

            results = interleaved(bench.rounds, {"ours": back_up, "pg_dump": dump_to_disk}, say=bench.say)
            told = ours.told(["snapshots"], repositories)["snapshots"][0]
            bench.facts["bytes of the dump"] = told.get("source_bytes", told)
            bench.facts["dump, stored: ours, pg_dump"] = [measure(each)[1] for each in (repositories[0], target)]
    size = f"{wanted / GB:g} GB"
    yield _ratio("dump", f"a dump of {size}, against pg_dump -Fd -j2 with zstd", results, "pg_dump", 1.0)
    yield _memory("dump", f"its peak memory, {size}", results)


def first_bucket(bench: Bench) -> Iterator[Figure]:
    """A first backup of a bucket: ours; `rclone copy` to the disk, then restic."""
    files, size = max(20, int(_FILES * bench.scale)), GB // 1000
    with bench.place("disk", 8 * files * size + GB) as disk, bucket(disk) as endpoint, _credentials():
        them = Restic(bench.work)
        ours, copied = WedSync(), disk / "copied"
        _fill(bench, disk, endpoint, "first", files, size)
        copy = _rclone(bench, "copy", "b:benchmark/first", copied)
        environment = _settings(endpoint)

        def back_up(_number: int) -> Measurement:
            return ours.measured(["backup", address(endpoint, "first")], fresh(disk, 1, ours), durable=disk)

        def copy_and_back_up(_number: int) -> Measurement:
            shutil.rmtree(copied, ignore_errors=True)
            repositories = fresh(disk, 1, them)
            first = run(copy, durable=disk, environment=environment)
            return total([first, *them.backup(repositories, copied, durable=disk)])

        results = interleaved(bench.rounds, {"ours": back_up, "rclone, restic": copy_and_back_up}, say=bench.say)
    what = f"a bucket of {files * size / GB:g} GB in {files:,} objects"
    yield _ratio("bucket", f"{what}, first backup", results, "rclone, restic", 3.0)
    yield _memory("bucket", "its peak memory", results)


def unchanged_bucket(bench: Bench) -> Iterator[Figure]:
    """A bucket of many small objects again, when nothing changed: time, and requests of the listing."""
    count = max(200, int(_UNCHANGED * bench.scale))
    with bench.place("disk", 8 * GB) as disk, bucket(disk) as endpoint, _credentials():
        ours = WedSync()
        _fill(bench, disk, endpoint, "many", count, 200)
        url = address(endpoint, "many")
        repositories = fresh(disk, 1, ours)
        first = ours.measured(["backup", url], repositories, durable=disk)
        bench.say(f"  first: {first.wall_seconds:.2f} s, {first.cpu_seconds:.1f} CPU s")
        results = interleaved(
            bench.rounds, {"ours": lambda _: ours.measured(["backup", url], repositories, durable=disk)}, say=bench.say
        )
        counted = _Counted(s3_options(url, credentials=credentials_from("env"))[0])
        started = time.perf_counter()
        list_objects(counted, ObjectTable())
        seconds = time.perf_counter() - started
        counted.close()
    seconds_ours = median_of(results["ours"], "wall_seconds")
    yield Figure(
        *("unchanged", f"a bucket of {count:,} unchanged objects", seconds_ours, "s"),
        floor=20.0,
        smaller_is_better=True,
        ours=f"{median_of(results['ours'], 'cpu_seconds'):.1f} CPU s",
        note=f"listing alone {seconds:.2f} s; the floor under it is the server's",
    )
    yield Figure(
        *("unchanged", "requests of its listing for a thousand keys", counted.calls / (count / 1000), "requests"),
        floor=1.0 + 70 * 1000 / count,
        smaller_is_better=True,
        ours=f"{counted.calls:,} requests",
        note="one, and at most 64 more for prefixes",
    )
    yield _memory("unchanged", "its peak memory", results)


class _Counted(Bucket):
    """A bucket that counts what it is asked."""

    calls = 0

    def call(self, attempt: Callable[[Any], T]) -> T:
        """See `Bucket.call`."""
        self.calls += 1
        return super().call(attempt)


@contextmanager
def _credentials() -> Iterator[None]:
    """The bucket's credentials in this process's environment, for as long as it takes."""
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name in ENVIRONMENT:
            os.environ.pop(name, None)


def _settings(endpoint: str) -> dict[str, str]:
    """The environment of rclone, without what this machine says of other servers of S3."""
    values = {"type": "s3", "provider": "Other", "endpoint": endpoint, "region": "eu-bench-1"}
    secrets = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY, "force_path_style": "true"}
    own = {f"RCLONE_CONFIG_B_{name.upper()}": value for name, value in {**values, **secrets}.items()}
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | own


def _rclone(bench: Bench, *words: str | Path) -> list[str | Path]:
    return [rclone(bench.work), "--config", "/dev/null", "--quiet", *words]


def _fill(bench: Bench, disk: Path, endpoint: str, prefix: str, count: int, size: int) -> None:
    """Objects that do not compress, in folders of a thousand. Not measured."""
    folder = disk / "filling"
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:03}").mkdir(parents=True)
        (folder / f"{number // 1000:03}" / f"{number:06}.jpg").write_bytes(os.urandom(size))
    words = _rclone(bench, "copy", "--transfers=16", "--s3-no-check-bucket", "--s3-no-head", "--no-check-dest")
    done = run([*words, folder, f"b:benchmark/{prefix}"], durable=disk, environment=_settings(endpoint))
    shutil.rmtree(folder)
    bench.say(f"  {count:,} objects of {size:,} bytes put in {done.wall_seconds:.0f} s")


def _ratio(row: str, work: str, results: dict[str, list[Measurement]], other: str, floor: float) -> Figure:
    ours, theirs = (median_of(results[name], "wall_seconds") for name in ("ours", other))
    cpu = [median_of(results[name], "cpu_seconds") for name in ("ours", other)]
    return Figure(
        *(row, work, theirs / ours),
        floor=floor,
        ours=f"{ours:.2f} s, {cpu[0]:.1f} CPU s",
        theirs=f"{theirs:.2f} s, {cpu[1]:.1f} CPU s",
    )


def _memory(row: str, work: str, results: dict[str, list[Measurement]]) -> Figure:
    peak = max(each.peak_bytes for each in results["ours"])
    return Figure(*(row, work, peak / 2**20, "MiB"), floor=512, smaller_is_better=True)


ROWS = {
    "dump": Row("a database, against pg_dump -Fd -j2 with zstd to the same disk", dump),
    "bucket": Row("the first backup of a bucket, against rclone copy and restic", first_bucket),
    "unchanged": Row("a bucket of which nothing changed", unchanged_bucket),
}
