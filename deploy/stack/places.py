"""The folders that the platform needs and no part watches: the home's disk, and the local tier."""

import contextlib
import os
from pathlib import Path

from chassis.clock import SystemClock
from chassis.disk import Disk, DiskSilent
from deploy.stack.begun import MAY_BE_BEGUN_ANEW, missing_of
from deploy.stack.layout import Layout
from deploy.stack.location_credentials import LocationCredentials
from deploy.stack.own_backup.findings import findings_of
from deploy.stack.state import PlaceState
from deploy.stack.stores import Store, StoreGone
from deploy.stack.whole import Reader, anew, named

HOME = "home"
LOCAL_TIER = "local"
FREE_BYTES_MIN = 256 * 1024 * 1024
"""Below this the next run or the next checkpoint of a server may fail."""


class Places:
    """Looks at the folders. None of them keeps another from being looked at."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._home = Disk(layout.home)
        self._local_tier = Store(layout, layout.local_tier)
        self._reader = Reader(layout.home)
        self._credentials = LocationCredentials(layout)
        self._clock = SystemClock()
        self._gone: str | None = None

    async def open(self) -> None:
        """At a start: the local tier is made where there never was one, and never anew. The start needs none."""
        try:
            await self._local_tier.open()
            await self._local_tier.keep()
        except StoreGone as error:
            self._gone = f"{error}. {error.hint}"
        except OSError as error:
            self._gone = f"{self._local_tier.folder} cannot be opened: {error.strerror}"
        else:
            self._gone = None

    async def look(self) -> list[PlaceState]:
        """How they are now."""
        missing: list[str] = []
        damaged: dict[str, str] = {}
        credentials: str | None = None
        own: list[PlaceState] = []
        with contextlib.suppress(OSError):
            # What an operator has registered meanwhile is noted as soon as it is there.
            self._layout.note_begun(await self._home.ask(self._layout.begun_now))
            missing = await self._home.ask(lambda: missing_of(self._layout.home, self._layout.remembered.begun))
            damaged = await self._home.ask(self._reader.damaged)
            credentials = await self._home.ask(self._credentials.trouble)
            own = await self._home.ask(lambda: findings_of(self._layout, self._clock.now()))
        if self._gone is not None:
            await self.open()
        home = await _disk_of(HOME, self._home)
        tier = await _disk_of(LOCAL_TIER, self._local_tier.disk)
        trouble = await self._local_tier.trouble()
        if self._gone is not None:
            tier.reason = self._gone
        elif trouble is not None:
            tier.reason = f"{trouble.reason}. Nothing is made anew there; {self._local_tier.what_to_do}"
        found = [home, tier, *self._losses(missing, damaged), *own]
        if credentials is not None:
            found.append(PlaceState(name="credentials", path=str(self._layout.credentials), reason=credentials))
        return found

    def _losses(self, missing: list[str], damaged: dict[str, str]) -> list[PlaceState]:
        """Of keys and of lists, what is gone, and what is there and cannot be read."""
        found: list[PlaceState] = []
        for name, folder in (("keys", self._layout.keys), ("lists", self._layout.config)):
            gone = [each for each in missing if each.startswith(f"{folder.name}/")]
            begin = " --begin-anew ".join(each for each in gone if each in MAY_BE_BEGUN_ANEW)
            without = f". To go on without it: wedsync-backup down, then wedsync-backup up --begin-anew {begin}"
            if gone:
                reason = (
                    f"{self._layout.home} lacks what was made before: {', '.join(gone)}. Put the copy back, now: what "
                    "runs goes on without it, and the next start is refused" + (without if begin else "")
                )
                found.append(PlaceState(name=name, path=str(folder), reason=reason))
            if unread := {each: what for each, what in damaged.items() if each.startswith(f"{folder.name}/")}:
                reason = (
                    f"{self._layout.home} has what cannot be read: {named(unread)}. Put the copy back, now, or correct "
                    f"what you wrote there: the next start is refused.{anew(unread)}"
                )
                found.append(PlaceState(name=name, path=str(folder), reason=reason))
        return found


async def _disk_of(name: str, disk: Disk) -> PlaceState:
    try:
        return await disk.ask(lambda: disk_of(name, disk.folder))
    except DiskSilent as error:
        return PlaceState(
            name=name, path=str(disk.folder), reason=f"{disk.folder} cannot be looked at: {error.strerror}"
        )


def disk_of(name: str, folder: Path) -> PlaceState:
    """The free space of the disk that a folder lies on."""
    place = PlaceState(name=name, path=str(folder))
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        place.reason = f"{folder} cannot be looked at: {error.strerror}"
        return place
    place.free_bytes, place.total_bytes = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if place.free_bytes < FREE_BYTES_MIN:
        place.reason = (
            f"the disk of {folder} is full: {place.free_bytes // 1024**2} MiB are free,"
            f" {FREE_BYTES_MIN // 1024**2} are needed. Free space there; all goes on by itself"
        )
    return place
