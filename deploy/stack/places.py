"""The folders that the platform needs and no part watches: the home's disk, and the local tier."""

import os
from pathlib import Path

from deploy.stack.layout import Layout
from deploy.stack.state import PlaceState
from deploy.stack.stores import Store, StoreGone

HOME = "home"
LOCAL_TIER = "local"
FREE_BYTES_MIN = 256 * 1024 * 1024
"""Below this the next run or the next checkpoint of a server may fail."""


class Places:
    """Looks at the folders; `look` blocks on the file system."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._local_tier = Store(layout, layout.local_tier)
        self._gone: str | None = None

    def open(self) -> None:
        """At a start: the local tier is made where there never was one, and never anew."""
        try:
            self._local_tier.open()
            self._local_tier.keep()
        except StoreGone as error:
            self._gone = f"{error}. {error.hint}"
        else:
            self._gone = None

    def look(self) -> list[PlaceState]:
        """How they are now."""
        if self._gone is not None:
            self.open()
        home = disk_of(HOME, self._layout.home)
        tier = disk_of(LOCAL_TIER, self._layout.local_tier)
        trouble = self._local_tier.trouble()
        if self._gone is not None:
            tier.reason = self._gone
        elif trouble is not None:
            tier.reason = f"{trouble.reason}. Nothing is made anew there; {self._local_tier.what_to_do}"
        return [home, tier]


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
