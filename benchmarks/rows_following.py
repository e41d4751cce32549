"""A database that is followed: how long after its commit a transaction is durable on a tier."""

import statistics
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import WedSync
from benchmarks.corpora import GB
from benchmarks.postgres import Postgres
from benchmarks.report import Figure

_SLOT = "benchmark"
_SECONDS = 20.0
_LOOK_SECONDS = 0.02
_POSITIONS = b"SELECT (confirmed_flush_lsn - '0/0')::int8 FROM pg_replication_slots WHERE slot_name = 'benchmark'"


def commit_to_durable(bench: Bench) -> Iterator[Figure]:
    """At 5 and at 500 transactions a second, asked every second."""
    for rate in (5, 500):
        with bench.place("disk", 2 * GB) as disk:
            disk.chmod(0o755)
            settings = {"wal_level": "logical", "max_wal_senders": "4"}
            with Postgres(disk / "postgres", disk / "postgres-tools", settings=settings) as server:
                waits = sorted(_waits(bench, disk, server, rate))
        p99 = waits[int(len(waits) * 0.99)]
        bench.say(f"  {len(waits):,} transactions at {rate}/s")
        yield Figure(
            *("follow", f"commit to durable on a tier, {rate} transactions/s, p99", p99, "s"),
            floor=2.0,
            smaller_is_better=True,
            ours=f"median {statistics.median(waits):.2f} s",
        )


def _waits(bench: Bench, disk: Path, server: Postgres, rate: int) -> list[float]:
    """Seconds from each commit's answer until the server was told that it is durable."""
    ours = WedSync()
    repositories = fresh(disk, 1, ours)
    url = f"postgres://postgres@/postgres?host={server.folder.parent}"
    words = ["follow", url, "--slot", _SLOT, "--every", "1"]
    commits: list[tuple[int, float]] = []
    seen: list[tuple[float, int]] = []
    with server.connect() as writer, server.connect() as watcher:
        writer.execute("CREATE TABLE bookings (id bigint PRIMARY KEY, note text)")
        ours.told([*words[:2], "--slot", _SLOT, "--once"], repositories)
        receiver = ours.start(words, repositories)
        ended = threading.Event()
        watching = threading.Thread(target=_watch, args=(watcher, seen, ended), daemon=True)
        watching.start()
        try:
            begun = time.perf_counter()
            while (now := time.perf_counter() - begun) < _SECONDS * bench.scale:
                if len(commits) < now * rate:
                    commits.append(_committed(writer, len(commits)))
                else:
                    time.sleep(0.001)  # The next one is not due yet.
            while not seen or seen[-1][1] < commits[-1][0]:
                if time.perf_counter() - begun > 10 * _SECONDS or receiver.poll() is not None:
                    raise RuntimeError("what was committed is not let go of")
                time.sleep(_LOOK_SECONDS)  # Who watches has no event for it: the server tells only who asks.
        finally:
            ended.set()
            watching.join()
            receiver.terminate()
            try:
                receiver.wait(10)
            except subprocess.TimeoutExpired:
                receiver.kill()
                receiver.wait()
    positions = [position for _, position in seen]
    return [seen[bisect_left(positions, position)][0] - at for position, at in commits]


def _watch(
    watcher: "psycopg.Connection[tuple[object, ...]]", seen: list[tuple[float, int]], ended: threading.Event
) -> None:
    """Note each position up to which the server was told that all is durable, and when."""
    while not ended.wait(_LOOK_SECONDS):
        row = watcher.execute(_POSITIONS).fetchone()
        if row is not None and isinstance(row[0], int) and (not seen or row[0] > seen[-1][1]):
            seen.append((time.perf_counter(), row[0]))


def _committed(writer: "psycopg.Connection[tuple[object, ...]]", number: int) -> tuple[int, float]:
    writer.execute("INSERT INTO bookings VALUES (%s, repeat('x', 200))", (number,))
    at = time.perf_counter()
    row = writer.execute("SELECT (pg_current_wal_insert_lsn() - '0/0')::int8").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0], at


ROWS = {"follow": Row("a followed database: from a commit until it is durable", commit_to_durable)}
