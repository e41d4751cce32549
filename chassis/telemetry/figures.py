"""Metrics that have to be asked for: of a database, of disks, of key files, of the readiness checks.

Promise: they are read when somebody scrapes, and never shown older than that scrape. What cannot be read in time is
left out, and `wedsync_figures_read` is 0 for it: the last good value of a thing that is gone would look like health.
Labels are ids and names that operators gave (locations), never what a tenant wrote.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from chassis.asking import Questions
from chassis.disk import Disk

READ_SECONDS = 8.0
"""How long one source may take: longer than a readiness check, shorter than the ten seconds of a usual scrape."""

Read = Callable[[], Awaitable[Iterable[Metric]]]

_log = logging.getLogger(__name__)


class Figures(Collector):
    """The sources of a process. Each has a name, which is the label of `wedsync_figures_read`."""

    def __init__(self, registry: CollectorRegistry, *, read_seconds: float = READ_SECONDS) -> None:
        self._read_seconds = read_seconds
        self._sources: dict[str, Read] = {}
        self._found: dict[str, list[Metric] | None] = {}
        self._silent: set[str] = set()
        self._questions = Questions()
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is, is known once it was asked for."""
        return ()

    def add(self, name: str, read: Read) -> None:
        """Read from a source at each scrape."""
        if name in self._sources:
            raise ValueError(f"there is a source named {name} already")
        self._sources[name] = read

    async def refresh(self) -> None:
        """Ask all sources at the same time, each for `read_seconds` at most."""
        found = await asyncio.gather(*(self._ask(name, read) for name, read in self._sources.items()))
        self._found = dict(zip(self._sources, found, strict=True))

    async def _ask(self, name: str, read: Read) -> list[Metric] | None:
        try:
            found = list(await self._questions.ask(name, read, self._read_seconds))
        except Exception as error:  # noqa: BLE001  # whatever it is, the other figures are shown
            if name not in self._silent:
                _log.warning("figures cannot be read", exc_info=error, extra={"figures": name})
            self._silent.add(name)
            return None
        self._silent.discard(name)
        return found

    def collect(self) -> Iterable[Metric]:
        """What was found by the last `refresh`."""
        read = GaugeMetricFamily(
            "wedsync_figures_read",
            "1 where these figures were read for this scrape; 0: they could not be, and are left out.",
            labels=("figures",),
        )
        for name, found in self._found.items():
            read.add_metric((name,), 0 if found is None else 1)
            yield from found or ()
        if self._found:
            yield read


class DiskSpace:
    """The free space of the disks that folders lie on. `places`: folders by the name that is their label."""

    def __init__(self, places: Callable[[], Mapping[str, Path]]) -> None:
        self._places = places
        self._disks: dict[Path, Disk] = {}

    async def read(self) -> list[Metric]:
        """A folder that is gone, or whose disk hangs, has no sample; the readiness says why."""
        labels = ("place",)
        free = GaugeMetricFamily("wedsync_disk_free_bytes", "Free space for the platform's account.", labels=labels)
        size = GaugeMetricFamily("wedsync_disk_size_bytes", "Size of the file system.", labels=labels)
        places = self._places()
        self._disks = {path: self._disks.get(path) or Disk(path) for path in places.values()}
        answers = await asyncio.gather(*(self._ask(path) for path in places.values()))
        for name, found in zip(places, answers, strict=True):
            if found is not None:
                free.add_metric((name,), found.f_bavail * found.f_frsize)
                size.add_metric((name,), found.f_blocks * found.f_frsize)
        return [free, size]

    async def _ask(self, folder: Path) -> os.statvfs_result | None:
        try:
            return await self._disks[folder].ask(lambda: os.statvfs(folder))
        except OSError:
            return None
