"""What the harness measures is what happened."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import CommandFailed, Measurement, fsynced_write_rate, interleaved, median_of, run

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
HOLD = "import time\nheld = b'x' * {size}\nheld = bytearray(held)\ntime.sleep(0.3)\n"


def test_run_counts_the_processor_time_of_children_too(tmp_path: Path) -> None:
    """A program that lets others work is not cheaper for it."""
    inner = BURN.format(seconds=0.4)
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}], check=True)\n"
    measured = run([sys.executable, "-c", outer], durable=tmp_path)
    assert measured.cpu_seconds > 0.4
    assert measured.wall_seconds > 0.4
    assert measured.wall_seconds >= measured.sync_seconds >= 0


def test_run_adds_up_the_memory_of_a_family(tmp_path: Path) -> None:
    """Memory that two processes hold at the same time counts twice."""
    size = 60 << 20
    inner = HOLD.format(size=size)
    outer = (
        f"import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', {inner!r}])\n{inner}child.wait()\n"
    )
    measured = run([sys.executable, "-c", outer], durable=tmp_path)
    assert measured.peak_bytes > 2 * size


def test_run_does_not_count_the_memory_of_the_harness(tmp_path: Path) -> None:
    """What this process holds is no part of what the command needed."""
    ballast = bytearray(300 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    measured = run([sys.executable, "-c", "import time; time.sleep(0.2)"], durable=tmp_path)
    assert measured.peak_bytes < 100 << 20
    assert len(ballast) == 300 << 20


def test_run_gives_the_output_and_refuses_failures(tmp_path: Path) -> None:
    """A run that ended with an error is no figure; what it said is in the exception."""
    assert run([sys.executable, "-c", "print('done')"], durable=tmp_path).output == b"done\n"
    with pytest.raises(CommandFailed, match="no good"):
        run([sys.executable, "-c", "import sys; sys.exit('no good')"], durable=tmp_path)
    run([sys.executable, "-c", "import sys; sys.exit(3)"], durable=tmp_path, accept=(0, 3))


def test_run_kills_what_does_not_end(tmp_path: Path) -> None:
    """A command that hangs fails the row instead of hanging the benchmark."""
    with pytest.raises(CommandFailed, match="-9"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], durable=tmp_path, timeout=0.5)


def test_interleaved_alternates_who_comes_first() -> None:
    """A disturbance that grows or shrinks over time hits both."""
    order: list[str] = []

    def contestant(name: str) -> Measurement:
        order.append(name)
        return Measurement(float(len(order)), 0.0, 1.0, 1, b"")

    results = interleaved(
        3,
        {"ours": lambda _: contestant("ours"), "theirs": lambda _: contestant("theirs")},
        say=lambda _: None,
        touched_bytes=1 << 20,
    )
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert median_of(results["ours"], "wall_seconds") == 4.0


def test_fsynced_write_rate_leaves_nothing_behind(tmp_path: Path) -> None:
    """The disk's own speed is measured on files that are gone afterwards."""
    assert fsynced_write_rate(tmp_path, size=4 << 20, piece=1 << 20) > 0
    assert list(tmp_path.iterdir()) == []


def test_benchmark_lists_its_rows() -> None:
    """`--help` names every row that can be picked."""
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks.repository_bench", "--help"], capture_output=True, text=True, timeout=60
    )
    for row in ("first-backup", "four-tiers", "restore", "unchanged", "postgres", "stream", "large", "index"):
        assert row in said.stdout
