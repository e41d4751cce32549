"""How a command is measured: wall time with its data on disk, processor seconds, memory; interleaved runs, medians.

- **Durable.** After the command the file system that it wrote to is synced, and the time of that
  counts. Before it, what others left unwritten is synced and does not count.
- **Processor seconds** are user + system of the command and of all children that it waited for.
- **Memory** is the larger of: the sum of the resident sets of the command and its descendants
  (looked at every 20 ms), and the high-water mark that the kernel keeps for the command alone.
- **Interleaved.** A run of ours, a run of theirs, and again, so that a disturbance hits both.
- **Memory that is there.** A virtual machine gives free memory back to its host, and whoever needs it first waits for
  it, for as long as some whole runs take. So some is asked for and let go before each run.
"""

import ctypes
import mmap
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TOUCHED_BYTES = 4 << 30
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Measurement:
    """One run. `wall_seconds` includes the sync, of which `sync_seconds` tells the share."""

    wall_seconds: float
    sync_seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: bytes


class CommandFailed(Exception):
    """A measured command ended with an error: the run counts for nothing."""


def sync_file_system(path: Path) -> None:
    """Write everything of the file system that holds `path` to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), "syncfs failed", str(path))
    finally:
        os.close(descriptor)


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    durable: Path,
    environment: Mapping[str, str] | None = None,
    accept: Sequence[int] = (0,),
    timeout: float = 7200,
) -> Measurement:
    """Run one command to its end. Raises `CommandFailed` with the end of what it said."""
    os.sync()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=dict(environment or os.environ)
        )
        watch = _MemoryWatch(process.pid)
        deadline = threading.Timer(timeout, process.kill)
        deadline.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            deadline.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)  # reaped here, so that Popen does not wait for it
        written = time.perf_counter()
        sync_file_system(durable)
        ended = time.perf_counter()
        peak = watch.stop()
        output.seek(0)
        errors.seek(0)
        if process.returncode not in accept:
            said = (errors.read()[-3000:] or output.read()[-3000:]).decode(errors="replace")
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}")
        return Measurement(ended - started, ended - written, usage.ru_utime + usage.ru_stime, peak, output.read())


def first_byte(command: Sequence[str | os.PathLike[str]], *, environment: Mapping[str, str]) -> Measurement:
    """Run a command that prints: the time from its start until its first byte is here. Nothing is synced.

    Raises `CommandFailed`.
    """
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=dict(environment), bufsize=0
        )
        assert process.stdout is not None
        watch = _MemoryWatch(process.pid)
        with process.stdout as pipe:
            output = pipe.read(1 << 16)
            seconds = time.perf_counter() - started
            while piece := pipe.read(1 << 20):
                output += piece
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak = watch.stop()
        if process.returncode:
            errors.seek(0)
            said = errors.read()[-3000:].decode(errors="replace")
            raise CommandFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}")
        return Measurement(seconds, 0.0, usage.ru_utime + usage.ru_stime, peak, output)


def interleaved(
    rounds: int,
    contestants: Mapping[str, Callable[[int], Measurement]],
    *,
    say: Callable[[str], None],
    touched_bytes: int = TOUCHED_BYTES,
) -> dict[str, list[Measurement]]:
    """Each contestant once per round, in turn; every other round in the opposite order. Of one round, which is for
    showing that all runs, the memory is not prepared.
    """
    results: dict[str, list[Measurement]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants.items())
        for name, measure in order if number % 2 == 0 else reversed(order):
            if rounds > 1:
                _touch_memory(touched_bytes)
            result = measure(number)
            results[name].append(result)
            say(f"  {name} {number + 1}/{rounds}: {result.wall_seconds:.2f} s, {result.cpu_seconds:.1f} CPU s, "
                f"{result.peak_bytes / 2**20:.0f} MiB")  # fmt: skip
    return results


def median_of(results: Sequence[Measurement], field: str) -> float:
    """The median of one field, by its name."""
    return statistics.median(float(getattr(result, field)) for result in results)


def fsynced_write_rate(folder: Path, size: int = 1 << 30, piece: int = 32 << 20) -> float:
    """Bytes per second of this folder's disk when files of 32 MiB are written and fsynced one after the other.

    The floor under every durable backup: no program that keeps its promise is faster than this.
    """
    target = folder / "fsync-rate"
    target.mkdir(parents=True)
    body = os.urandom(piece)
    os.sync()
    started = time.perf_counter()
    for number in range(max(1, size // piece)):
        with (target / str(number)).open("wb", buffering=0) as file:
            file.write(body)
            os.fsync(file.fileno())
    elapsed = time.perf_counter() - started
    shutil.rmtree(target)
    return max(1, size // piece) * piece / elapsed


def _touch_memory(size: int) -> None:
    available = os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE
    populate = getattr(mmap, "MAP_POPULATE", 0)
    with mmap.mmap(-1, min(size, available // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | populate):
        pass


def warm(folder: Path) -> None:
    """Read every file once: both contestants find the source in the page cache."""
    buffer = bytearray(1 << 20)
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


class _MemoryWatch:
    """Looks at a process and its descendants until it is gone."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stopped = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak in bytes."""
        self._stopped.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._stopped.wait(0.02):
            total = 0
            for pid in _family(self._pid):
                resident, high_water = _memory_of(pid)
                total += resident
                self._peak = max(self._peak, high_water)
            self._peak = max(self._peak, total)


def _family(pid: int) -> list[int]:
    family, at = [pid], 0
    while at < len(family):
        for task in _listed(f"/proc/{family[at]}/task"):
            children = _text(f"/proc/{family[at]}/task/{task}/children")
            family.extend(int(child) for child in children.split())
        at += 1
    return family


def _memory_of(pid: int) -> tuple[int, int]:
    """Resident set and its high-water mark, in bytes; zero for a process that is gone."""
    figures = {"VmRSS": 0, "VmHWM": 0}
    for line in _text(f"/proc/{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name in figures:
            figures[name] = int(value.split()[0]) * 1024
    return figures["VmRSS"], figures["VmHWM"]


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
