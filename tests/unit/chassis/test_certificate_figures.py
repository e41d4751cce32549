"""When certificates end, where the disk that they are on does not answer."""

import os
import threading
from pathlib import Path

from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry


async def test_file_on_a_disk_that_hangs_costs_one_thread(tmp_path: Path) -> None:
    """However often it is scraped: who looks is told nothing of the file, and holds nothing more of the process."""
    silent = tmp_path / "ca.pem"
    os.mkfifo(silent)  # opening it waits for somebody who writes
    telemetry = Telemetry("executor")
    add_certificate_figures(telemetry, dsn="host=nowhere", nats_ca_file=silent, nats_expires=lambda: None)
    before = _disks()
    try:
        for _ in range(2):
            await telemetry.figures.refresh()
        assert len(_disks() - before) == 1
    finally:
        with silent.open("wb"):
            pass


def _disks() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "disk"}
