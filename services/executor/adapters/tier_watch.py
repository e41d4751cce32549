"""Looks at the tiers between the runs: whether they are there, are what they were, and have room.

Each location has a deadline and a finding of its own: what one of them does keeps nobody from looking at the others.
What is wrong degrades the worker's readiness, with figures and what to do: a run would find the same, hours later
perhaps. Of the repositories that were begun at a location `SAMPLE` are looked for each time, all of them in turn.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chassis.life.blocking import NoAnswer, call_in_thread
from chassis.life.health import Health
from chassis.life.tasks import Supervised
from chassis.location import Location
from chassis.locations import Locations
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.tier_failure import at_location
from repository.errors import BucketMissing, RepositoryError
from repository.stored.config import CONFIG_KEY
from vault.stores import folder_of, location_store
from vault.translation import code_of

EVERY_SECONDS = 15.0
STALL_SECONDS = 120.0
ANSWER_SECONDS = 20.0
"""A location that has not answered for so long is told; it is not asked again before it has."""
S3_PATIENCE_SECONDS = 3.0
LOW_FACTOR = 4
"""Below so many times the reserve a tier is about to be full; on a small disk where little more than that is free."""
LOW_SHARE = 20
"""The part of a disk that may be free beyond the reserve at most while that is said: a twentieth."""
SAMPLE = 16
FILES_MIN = 1000
"""Files that a file system still takes, where it counts them."""


_log = logging.getLogger(__name__)


class TierWatch:
    """A part of the worker process (see `chassis.life.runtime`). `begun_at`: whose repositories are at a location."""

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
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._locations = locations
        self._keys_dir = keys_dir
        self._begun_at = begun_at
        self._reserve_bytes = reserve_bytes
        self._health = health
        self._answer_seconds = answer_seconds
        self._shown: set[str] = set()
        self._asked: dict[str, PlatformError] = {}
        self._is_there: dict[str, dict[str, bool]] = {}
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
        tiers = await self._locations.tiers_now()
        found = await asyncio.gather(*(self._ask(location) for location in tiers))
        wrong = {f"tier {tier.name}": error for tier, error in zip(tiers, found, strict=True) if error is not None}
        for name in self._shown - wrong.keys():
            self._health.restore(name)
        for name, error in wrong.items():
            self._health.degrade(name, error)
        self._shown = set(wrong)

    async def _ask(self, location: Location) -> PlatformError | None:
        """What is wrong with a location; of one that has not answered, what is waited for."""
        if (waited_for := self._asked.get(location.name)) is not None:
            return waited_for
        until = time.monotonic() + self._answer_seconds
        self._asked[location.name] = self._unknown(location, f"not told within {self._answer_seconds:.0f} s")
        try:
            return await call_in_thread(partial(self._answer, location), is_overdue=lambda: time.monotonic() > until)
        except NoAnswer:
            return self._asked.get(location.name) or self._silent(location)

    def _answer(self, location: Location) -> PlatformError | None:
        try:
            try:
                organisations = self._begun_at(location.name)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is not the tier's
                return self._unknown(location, describe(error))
            self._asked[location.name] = self._silent(location)
            return self.look_at(location, organisations)
        except RepositoryError as error:
            return PlatformError(code_of(error), f"the tier {location.name}: {error.message}", hint=error.hint)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this location's alone
            return PlatformError(errors.TIER_UNREACHABLE, f"the tier {location.name}: {describe(error)}")
        finally:
            del self._asked[location.name]

    def _unknown(self, location: Location, why: str) -> PlatformError:
        return PlatformError(
            errors.UNAVAILABLE,
            f"whether the tier {location.name} is whole is unknown; which repositories it has: {why}",
            hint="Look at Postgres, which remembers them; the tier itself is looked at again as soon as that answers.",
        )

    def _silent(self, location: Location) -> PlatformError:
        return PlatformError(
            errors.TIER_UNREACHABLE,
            f"the tier {location.name} has not answered for {self._answer_seconds:.0f} s",
            hint="Look at its disk, its mount or its server, which hangs; it is asked again as soon as it answers.",
        )

    def look_at(self, location: Location, organisations: list[str]) -> PlatformError | None:
        """What is wrong with a location that has the repositories of some organisations. Raises as stores do."""
        trouble = folder_trouble(location, self._reserve_bytes) if location.kind == "directory" else None
        if trouble is not None or not organisations:
            return trouble
        try:
            self._look_for(location, organisations)
        except BucketMissing:
            return missing_trouble(location, len(organisations), len(organisations))
        seen = self._is_there[location.name]
        return missing_trouble(location, list(seen.values()).count(False), len(seen))

    def _look_for(self, location: Location, organisations: list[str]) -> None:
        """Those never looked for first, then those that were longest ago."""
        before = self._is_there.get(location.name, {})
        remembered = set(organisations)
        seen = {each: is_there for each, is_there in before.items() if each in remembered}
        self._is_there[location.name] = seen
        for organisation in [*(each for each in organisations if each not in seen), *list(seen)][:SAMPLE]:
            is_there = has_repository(self._keys_dir, location, organisation)
            if not is_there and before.get(organisation, True):
                _log.warning("a repository is gone", extra={"location": location.name, "organisation": organisation})
            seen.pop(organisation, None)
            seen[organisation] = is_there


def has_repository(keys_dir: Path, location: Location, organisation: str) -> bool:
    """Whether an organisation's repository is at a location. Raises as stores do."""
    store = location_store(keys_dir, location, organisation, name=location.name, patience_seconds=S3_PATIENCE_SECONDS)
    try:
        return store.head(CONFIG_KEY) is not None
    finally:
        store.close()


def tier_folders(locations: Locations) -> dict[str, Path]:
    """The folders of the directory locations that hold tiers, by the location's name."""
    return {each.name: Path(os.fsdecode(folder_of(each))) for each in locations.tiers() if each.kind == "directory"}


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
            errors.TIER_READ_ONLY,
            f"the file system of the tier {location.name} is read-only",
            hint="Look at the system's log for what its disk reports, mend it, and mount it for writing.",
        )
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    figures = f"{free >> 20} of {total >> 20} MiB are free"
    hint = "Free space on its disk, or move the tier to a larger one and register it there."
    if free < reserve_bytes:
        message = f"the tier {location.name} is full and takes no run: {figures}, {reserve_bytes >> 20} MiB are needed"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    if free < reserve_bytes + min((LOW_FACTOR - 1) * reserve_bytes, total // LOW_SHARE):
        message = f"the tier {location.name} is nearly full: {figures}; below {reserve_bytes >> 20} MiB it takes no run"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    if found.f_files and found.f_favail < FILES_MIN:
        message = f"the file system of the tier {location.name} takes {found.f_favail} more files only"
        return PlatformError(errors.TIER_FULL, message, hint=hint)
    return None


def missing_trouble(location: Location, missing: int, seen: int) -> PlatformError | None:
    """What is wrong with a location where so many of the repositories that were begun there are not."""
    if not missing:
        return None
    if missing == seen:
        return PlatformError(
            errors.TIER_VANISHED,
            f"the tier {location.name} was in use, and is empty or gone: nothing is written to it",
            hint=at_location(errors.TIER_VANISHED.hint, location.name),
        )
    return PlatformError(
        errors.TIER_VANISHED,
        f"{missing} of {seen} repositories on the tier {location.name} are gone, and nothing is written in their place",
        hint="The worker's log names the organisations. Bring back what they had there; if it is gone for good: "
        f"wedsync-backup tiers begin-anew {location.name} --organisation ID; the next run fills it from the others.",
    )
