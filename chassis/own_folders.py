"""The platform's own folders: never a source, never a tier, under whatever name they are reached.

They are told by device and inode, so that symlinks and bind mounts lead to what they are; a mount that shows a folder
further below alone is found in the kernel's list of mounts.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from chassis.disk import Disk, DiskSilent, says_nothing
from chassis.settings import ServiceSettings, variable_of
from contracts.errors import INVALID_SETTING, UNAVAILABLE, PlatformError

_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class OwnFolders:
    """Keys, data, settings, logs. Calls ask the disks they lie on, and may hang with them.

    They raise OSError where a disk says nothing: what is unknown is neither one of them nor none.
    """

    def __init__(self, folders: Iterable[Path], *, open_to_tiers: Iterable[Path] = ()) -> None:
        """`open_to_tiers`: folders among them in which tiers may lie all the same."""
        self._folders = [os.path.realpath(bytes(folder)) for folder in folders]
        self._open_to_tiers = [os.path.realpath(bytes(folder)) for folder in open_to_tiers]

    @classmethod
    def of(cls, settings: ServiceSettings) -> "OwnFolders":
        """Those that a process's settings name, and the folder of its keys."""
        return cls([settings.keys_dir, *settings.excluded_folders], open_to_tiers=settings.tier_folders)

    def places(self) -> list[bytes]:
        """All paths under which they are reached: their own, and mounts of what lies below them."""
        return _with_mounts(self._folders)

    def hold(self, path: bytes) -> bool:
        """Whether a path is one of them, or leads into one. What is not there yet is judged by what is above it."""
        return _lies_in(path, self.places())

    def hold_tier(self, path: bytes) -> bool:
        """The same for a tier."""
        return self.hold(path) and not _lies_in(path, _with_mounts(self._open_to_tiers))


def require_places(settings: ServiceSettings) -> None:
    """Raise INVALID_SETTING where the excluded folders leave no source, or those for tiers bind nothing."""
    for field in ("excluded_folders", "tier_folders"):
        for folder in getattr(settings, field):
            require_absolute(field, folder)
    if any(os.path.normpath(folder) in ("/", "//") for folder in settings.excluded_folders):
        raise _no_place("excluded_folders", "names the whole file system, in which every source and tier lies")
    excluded = [os.path.normpath(folder) for folder in (settings.keys_dir, *settings.excluded_folders)]
    for folder in map(os.path.normpath, settings.tier_folders):
        if not any(Path(folder).is_relative_to(each) or Path(each).is_relative_to(folder) for each in excluded):
            raise _no_place(
                "tier_folders", "names a folder outside all of WEDSYNC_EXCLUDED_FOLDERS, which opens nothing"
            )


def require_absolute(field: str, folder: Path) -> None:
    """Raise INVALID_SETTING where a folder depends on where the process was started."""
    if not folder.is_absolute():
        raise _no_place(field, "names a relative path")


def _no_place(field: str, fault: str) -> PlatformError:
    variable = variable_of(field)
    hint = f"Correct {variable}: it takes absolute paths; docs/settings.md says what they are for."
    return PlatformError(INVALID_SETTING, f"{variable} {fault}", field=variable, hint=hint)


def require_folder(field: str, folder: Path) -> None:
    """Raise INVALID_SETTING where a variable's folder is not there or is none, UNAVAILABLE where its disk hangs."""
    variable = variable_of(field)
    try:
        is_folder = Disk(folder).answer(folder.is_dir)
    except DiskSilent as error:
        raise PlatformError(UNAVAILABLE, f"the disk of {variable} does not answer", field=variable) from error
    except OSError as error:
        raise _no_folder(variable, "cannot be reached") from error
    if not is_folder:
        raise _no_folder(variable, "is not there, or is no folder")


def _no_folder(variable: str, fault: str) -> PlatformError:
    return PlatformError(
        INVALID_SETTING,
        f"what {variable} names {fault}",
        field=variable,
        hint=f"Set {variable} to a folder that is there and that this user may enter, or mount what it names.",
    )


def _lies_in(path: bytes, places: Iterable[bytes]) -> bool:
    wanted = {found for place in places if (found := _identity(place)) is not None}
    at = os.path.realpath(path)
    while True:
        if _identity(at) in wanted:
            return True
        if at == (at := os.path.dirname(at)):
            return False


def _identity(path: bytes) -> tuple[int, int] | None:
    """Device and inode; None for what is not there or out of reach. Raises OSError where its disk says nothing."""
    try:
        found = os.stat(path)
    except OSError as error:
        if says_nothing(error):
            raise
        return None
    return found.st_dev, found.st_ino


def may_lead_to(folder: bytes, place: bytes) -> bool:
    """Whether somewhere below a folder there may be another one whose disk does not answer.

    Told by the kernel's list of mounts alone: neither that disk nor any other is asked. True where that is unknown.
    """
    mounts = _mounts()
    over = [
        max((each for each in mounts if _is_below(path, each[2])), key=_depth, default=None) for path in (folder, place)
    ]
    if over[0] is None or over[1] is None:
        return True
    device = over[1][0]
    return over[0][0] == device or any(of == device and _is_below(point, folder) for of, _, point in mounts)


def mount_over(path: bytes) -> bytes | None:
    """Where the file system is mounted that a path without symlinks lies on; None where that is unknown."""
    over = max((each for each in _mounts() if _is_below(path, each[2])), key=_depth, default=None)
    return None if over is None else over[2]


def _depth(mount: tuple[bytes, bytes, bytes]) -> int:
    return len(mount[2])


def _with_mounts(folders: list[bytes]) -> list[bytes]:
    mounts = _mounts()
    return [*folders, *(point for folder in folders for point in _mounted_from(folder, mounts))]


def _mounts() -> list[tuple[bytes, bytes, bytes]]:
    """Of each mount its device, which folder of the device it shows, and where."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return []
    fields = [line.split(b" ") for line in lines]
    return [(each[2], _plain(each[3]), _plain(each[4])) for each in fields if len(each) > 4]


def _plain(text: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), text)


def _mounted_from(folder: bytes, mounts: list[tuple[bytes, bytes, bytes]]) -> list[bytes]:
    """Where else the device's folders below this one are mounted."""
    above = [mount for mount in mounts if _is_below(folder, mount[2])]
    if not above:
        return []
    device, shown, point = max(above, key=_depth)
    inside = os.path.normpath(os.path.join(shown, os.path.relpath(folder, point)))
    return [other for of, root, other in mounts if of == device and root != b"/" and _is_below(root, inside)]


def _is_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
