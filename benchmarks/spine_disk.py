"""How the disk answers while something else is measured on it: the time of small synced writes, one at a time.

A latency of the platform is made of synced writes. Without the disk's own figure of the same minutes nobody can tell a
slow program from a slow disk, so each row that waits for the disk prints both, and its floor grows with the disk.
"""

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.spine_platform import percentile

EVERY_SECONDS = 0.02
WRITE_BYTES = 8192


class Disk:
    """Appends to a file of its own and syncs it, again and again, as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "fsync-probe"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fsync-probe")
        self.milliseconds: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._file.unlink(missing_ok=True)

    def _run(self) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while not self._stop.wait(EVERY_SECONDS):
                began = time.perf_counter()
                os.write(descriptor, bytes(WRITE_BYTES))
                os.fsync(descriptor)
                self.milliseconds.append((time.perf_counter() - began) * 1000)
        finally:
            os.close(descriptor)

    @property
    def p99(self) -> float:
        """What 99 of 100 synced writes took at most, in milliseconds."""
        return percentile(self.milliseconds, 0.99)

    def floor(self, absolute: float, fsyncs: float) -> float:
        """The floor of a latency in milliseconds: an absolute one, or so many fsyncs where the disk is slower."""
        return max(absolute, fsyncs * self.p99)

    def told(self, latency: float) -> str:
        """The disk's figures, and a latency in them."""
        return (
            f"{latency / self.p99:.1f} of the disk's fsync p99, {self.p99:.1f} ms "
            f"(p50 {percentile(self.milliseconds, 0.5):.1f}, {len(self.milliseconds)} between)"
        )
