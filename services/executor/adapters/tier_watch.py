"""Looks at the tiers between the runs: whether they are there, are what they were, and have room.

What is wrong degrades the worker's readiness, with figures and what to do: a run would find the same, hours later
perhaps. A directory is asked each time, an S3 location with one request for one repository that was begun there.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from chassis.health import Health
from chassis.locations import Location, Locations
from chassis.tasks import Supervised
from chassis.telemetry import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from repository.config import CONFIG_KEY
from repository.errors import BucketMissing, RepositoryError
from services.executor.adapters.stores import folder_of, location_store
from services.executor.adapters.translation import code_of

EVERY_SECONDS = 15.0
STALL_SECONDS = 120.0
S3_PATIENCE_SECONDS = 3.0
LOW_FACTOR = 4
"""Below so many times the reserve a tier is about to be full."""
FILES_MIN = 1000
"""Files that a file system still takes, where it counts them."""


class TierWatch:
    """A part of the worker process (see `chassis.runtime`). `begun_at`: whose repositories are at a location."""

    name = "tier-watch"

    def __init__(
        self,
        *,
        locations: Locations,
        keys_dir: Path,
        begun_at: Callable[[str], list[str]],
        reserve_bytes: int,
        health: Health,
        telemetry: Telemetry,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._locations = locations
        self._keys_dir = keys_dir
        self._begun_at = begun_at
        self._reserve_bytes = reserve_bytes
        self._health = health
        self._shown: set[str] = set()
        self._loop = Supervised(
            self.name, self._turn, telemetry=telemetry, every_seconds=every_seconds, stall_seconds=STALL_SECONDS
        )

    async def start(self) -> None:
        """Begin to look."""
        await self._loop.start()

    async def stop(self) -> None:
        """Look no more."""
        await self._loop.stop()

    async def check(self) -> PlatformError | str | None:
        """Whether it still looks; what it finds is shown beside this."""
        return await self._loop.check()

    async def ended(self) -> BaseException:
        """See `Supervised`."""
        return await self._loop.ended()

    async def _turn(self) -> None:
        tiers = self._locations.tiers()
        found = await asyncio.gather(*(asyncio.to_thread(self._look_at, location) for location in tiers))
        wrong = {f"tier {tier.name}": error for tier, error in zip(tiers, found, strict=True) if error is not None}
        for name in self._shown - wrong.keys():
            self._health.restore(name)
        for name, error in wrong.items():
            self._health.degrade(name, error)
        self._shown = set(wrong)

    def _look_at(self, location: Location) -> PlatformError | None:
        organisations = self._begun_at(location.name)
        trouble = folder_trouble(location, self._reserve_bytes) if location.kind == "directory" else None
        if trouble is not None or not organisations:
            return trouble
        try:
            return None if self._holds_any(location, organisations) else _vanished(location)
        except BucketMissing:
            return _vanished(location)
        except RepositoryError as error:
            return PlatformError(code_of(error), f"the tier {location.name}: {error.message}", hint=error.hint)

    def _holds_any(self, location: Location, organisations: list[str]) -> bool:
        for organisation in organisations:
            store = location_store(
                self._keys_dir, location, organisation, name=location.name, patience_seconds=S3_PATIENCE_SECONDS
            )
            try:
                if store.head(CONFIG_KEY) is not None:
                    return True
            finally:
                store.close()
        return False


def folder_trouble(location: Location, reserve_bytes: int) -> PlatformError | None:
    """What is wrong with the folder of a directory location: away, read-only, full, or about to be."""
    try:
        found = os.statvfs(folder_of(location))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        return PlatformError(
            errors.TIER_UNREACHABLE,
            f"the folder of the tier {location.name} cannot be used: {reason}",
            hint="Mount its disk; it is not made by the platform.",
        )
    if found.f_flag & os.ST_RDONLY:
        return PlatformError(
            errors.TIER_UNREACHABLE,
            f"the file system of the tier {location.name} is read-only",
            hint="Look at the system's log for what its disk reports, mend it, and mount it for writing.",
        )
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    figures = f"{free >> 20} of {total >> 20} MiB are free"
    hint = "Free space on its disk, or move the tier to a larger one and register it there."
    if free < reserve_bytes:
        message = f"the tier {location.name} is full and takes no run: {figures}, {reserve_bytes >> 20} MiB are needed"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    if free < LOW_FACTOR * reserve_bytes:
        message = f"the tier {location.name} is nearly full: {figures}; below {reserve_bytes >> 20} MiB it takes no run"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    if found.f_files and found.f_favail < FILES_MIN:
        message = f"the file system of the tier {location.name} takes {found.f_favail} more files only"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    return None


def _vanished(location: Location) -> PlatformError:
    return PlatformError(
        errors.TIER_VANISHED,
        f"the tier {location.name} was in use, and is empty or gone: nothing is written to it; "
        f"bring it back, or: wedsync-backup tiers begin-anew {location.name}",
    )
