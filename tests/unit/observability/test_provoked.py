"""Alerts that no running platform is brought to in seconds, on the real figures of the parts that they are about."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from chassis.life.health import Health, HealthServer, answer
from chassis.life.tasks import Supervised
from chassis.telemetry.figures import DiskSpace, Figures
from chassis.telemetry.instruments import Telemetry
from gateway.projections.projector import Projector
from tests.support.alerts import ROOT, RULES, firing
from tests.support.eventually import eventually
from tests.support.promql import JOB, Scrapes


class Process:
    """A process as far as it is scraped."""

    def __init__(self) -> None:
        self.telemetry, self.health = Telemetry("gateway"), Health("gateway")
        self.scrapes = Scrapes()
        HealthServer(self.health, self.telemetry)

    async def scrape(self, at: float) -> None:
        """Ask for the figures at some time."""
        _, _, body = await answer(self.health, self.telemetry, "/metrics")
        self.scrapes.add(at, {"gateway": body.decode()})


@pytest.fixture
def process() -> Process:
    """A process that has nothing to show yet."""
    return Process()


async def test_nothing_that_is_scraped(process: Process) -> None:
    """Prometheus has found no target: there is no figure that any other rule could look at."""
    process.scrapes.add(0, {})
    assert firing(process.scrapes, "WedsyncNothingScraped") == [{"job": JOB}]
    assert [alert for alert in RULES if firing(process.scrapes, alert)] == ["WedsyncNothingScraped"]
    await process.scrape(60)
    assert not firing(process.scrapes, "WedsyncNothingScraped")
    written = yaml.safe_load((ROOT / "deploy/observability/prometheus.yml").read_text())
    assert [each["job_name"] for each in written["scrape_configs"]] == [JOB]


async def test_loop_that_breaks_off_again_and_again(process: Process) -> None:
    """It is begun anew each time, and counted from the first time on."""

    async def break_off() -> None:
        raise ValueError

    loop = Supervised("turns", break_off, telemetry=process.telemetry, longest_pause_seconds=0.01)
    await process.scrape(0)
    await loop.start()
    await eventually(lambda: loop.restarts > 2)
    await loop.stop()
    await process.scrape(60)
    assert [each["loop"] for each in firing(process.scrapes, "WedsyncLoopRestarts")] == ["turns"]


@pytest.mark.parametrize(("free", "fires"), [(9, True), (11, False)])
async def test_disk_with_less_than_a_tenth_free(
    process: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, fires: bool
) -> None:
    """By the name of its place."""
    found = SimpleNamespace(f_frsize=4096, f_blocks=100, f_bavail=free)
    monkeypatch.setattr("chassis.telemetry.figures.os.statvfs", lambda _folder: found)
    process.telemetry.figures.add("disks", DiskSpace(lambda: {"far": tmp_path}).read)
    await process.scrape(0)
    assert [each["place"] for each in firing(process.scrapes, "WedsyncDiskNearlyFull")] == ["far"] * fires


async def test_disk_that_is_gone_has_no_figures(process: Process, tmp_path: Path) -> None:
    """Not the last ones."""
    folder = tmp_path / "disk"
    folder.mkdir()
    process.telemetry.figures.add("disks", DiskSpace(lambda: {"far": folder}).read)
    await process.scrape(0)
    assert "wedsync_disk_free_bytes" in process.scrapes.names()
    folder.rmdir()
    await process.scrape(60)
    assert "wedsync_disk_free_bytes" not in process.scrapes.names()


async def test_read_models_that_fall_behind(process: Process) -> None:
    """The one that leads was last at the end of all streams a minute ago."""
    projector = Projector(dsn="", schema="gateway", nats=lambda: None, telemetry=process.telemetry)  # type: ignore[arg-type, return-value]
    projector._judgement.lead(leads=True)
    await process.scrape(0)
    assert not firing(process.scrapes, "WedsyncReadModelsBehind")
    projector._caught_up_at -= 61
    await process.scrape(60)
    assert firing(process.scrapes, "WedsyncReadModelsBehind")


async def test_consumer_that_falls_behind(process: Process) -> None:
    """By the consumer's name."""
    process.telemetry.metrics.waiting.labels("config--create-configuration").set(1001)
    await process.scrape(0)
    behind = firing(process.scrapes, "WedsyncConsumerBehind")
    assert [each["consumer"] for each in behind] == ["config--create-configuration"]


async def test_source_that_does_not_answer_is_left_out_and_told(process: Process) -> None:
    """In its time, while the others are shown: a figure of yesterday would look like health."""
    telemetry = Telemetry("gateway")
    figures = Figures(telemetry.registry, read_seconds=0.05)

    async def hangs() -> list[object]:
        await asyncio.Event().wait()
        return []

    async def breaks() -> list[object]:
        raise ValueError("Meyer wedding")

    async def well() -> list[object]:
        return []

    for name, read in (("hangs", hangs), ("breaks", breaks), ("well", well)):
        figures.add(name, read)  # type: ignore[arg-type]
    await figures.refresh()
    (read,) = list(figures.collect())
    assert {sample.labels["figures"]: sample.value for sample in read.samples} == {"hangs": 0, "breaks": 0, "well": 1}
