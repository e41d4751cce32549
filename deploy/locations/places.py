"""Where a new location lies: not among the platform's own, and not where another one is.

A tier in the home is lost with the home, and a source there would be the platform's own secrets. Two locations in one
place are one copy that is counted twice; a tier within another one would lie among somebody else's repositories.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from chassis.disk import Disk
from chassis.location import ANY_ORGANISATION, Location
from chassis.own_folders import mount_over
from contracts import errors
from contracts.errors import PlatformError
from repository.tiers.places import place_of
from vault.stores import folder_of

_KEPT_APART = frozenset({"tier", "target"})
"""Roles of places that are written to, around no home: what is written there could be written into it."""


def refuse_name(location: Location, others: Iterable[Location]) -> None:
    """Raise LOCATION_TAKEN where the name is given already."""
    if any(each.name == location.name for each in others):
        raise PlatformError(errors.LOCATION_TAKEN, f"there is a location {location.name} already", field="name")


def refuse_place(location: Location, others: Iterable[Location], home: Path) -> None:
    """Raise LOCATION_EXCLUDED or LOCATION_TAKEN where a location must not be where it is. `others`: those registered.

    Raises DiskSilent, an OSError, where its disk does not answer. A disk of another location that does not answer is
    told apart by what is written alone.
    """
    if location.kind == "directory":
        refuse_unreal(location)
        path, own = _real(folder_of(location)), _real(bytes(home))
        if _is_within(path, own) or (_KEPT_APART & {*location.roles} and _is_within(own, path)):
            where = "lies in" if _is_within(path, own) else "holds"
            raise PlatformError(
                errors.LOCATION_EXCLUDED,
                f"the folder {where} the platform's own home {home}",
                field="url",
                hint="Choose a folder elsewhere, best on another disk: what lies with the platform is lost with it.",
            )
    for other in others:
        if other.name != location.name and other.kind == location.kind:
            _refuse_beside(location, other)


def with_mount(location: Location) -> Location:
    """A target with where its disk is mounted now. Raises DiskSilent, an OSError, where its disk does not answer."""
    if "target" not in location.roles:
        return location
    over = mount_over(_real(folder_of(location)))
    try:
        return location if over is None else msgspec.structs.replace(location, mount=over.decode())
    except UnicodeDecodeError:
        return location  # The registry is text: `location test` says that it is not noted.


def refuse_unreal(location: Location) -> None:
    """Raise LOCATION_EXCLUDED where a folder holds what the kernel shows, and nobody's files: /proc, /sys, /dev, /.

    Told by the type of its file system, so that no link and no mount hides it, and by its place where the kernel's own
    hang from an ordinary one (/sys/fs/cgroup of the first version is a tmpfs). Raises DiskSilent, an OSError.
    """
    folder = folder_of(location)
    path = _real(folder)
    if path == b"/":
        raise PlatformError(
            errors.LOCATION_EXCLUDED,
            "the root of all folders holds the kernel's own beside everybody's files",
            field="url",
            hint="Name the folder that is meant (file:///home, file:///srv, …), a location for each.",
        )
    is_device = _is_within(path, b"/dev") and not _is_within(path, b"/dev/shm")
    is_shown = is_device or any(_is_within(path, own) for own in (b"/proc", b"/sys"))
    if is_shown or Disk(Path(os.fsdecode(path))).answer(lambda: _file_system_type(path)) in _OF_THE_KERNEL:
        raise PlatformError(
            errors.LOCATION_EXCLUDED,
            "the folder is one that the kernel shows (as /proc, /sys and /dev are): it holds nobody's files",
            field="url",
            hint="Choose a folder on a disk: what is read here can be neither kept nor restored, and may never end.",
        )


_OF_THE_KERNEL = frozenset(
    (
        *(0x9FA0, 0x62656572, 0x1CD1, 0x64626720, 0x74726163),  # proc, sysfs, devpts, debugfs, tracefs
        *(0x27E0EB, 0x63677270, 0x73636673, 0xCAFE4A11),  # cgroup, cgroup2, securityfs, bpf
        *(0x6165676C, 0x62656570, 0xF97CFF8C, 0xDE5E81E4),  # pstore, configfs, selinux, efivarfs
        *(0x19800202, 0x958458F6, 0x6E736673, 0x42494E4D),  # mqueue, hugetlbfs, nsfs, binfmt_misc
        *(0x65735543, 0x67596969),  # fusectl, rpc_pipefs
    )
)
"""Types of file systems, as statfs(2) names them."""
_STATFS_BYTES = 512
"""More than the structure has on any machine; its first word is the type."""


def _file_system_type(path: bytes) -> int | None:
    """Of the file system that a folder lies on; None where that cannot be told: others find out why."""
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.statfs(path, answer) != 0:
        return None
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


_LIBC = ctypes.CDLL(None, use_errno=True)


def refuse_hiding(location: Location, others: Iterable[Location]) -> None:
    """Raise LOCATION_EXCLUDED where a new tier would take somebody's files out of the backups.

    Nothing below a tier is ever backed up. A folder that lies in a source and holds something is part of its backups
    until then, and nobody would hear that it is no more. Raises DiskSilent, an OSError, where its disk does not answer.
    """
    if location.kind != "directory" or "tier" not in location.roles or not _holds_something(folder_of(location)):
        return
    for other in others:
        if other.kind == "directory" and "source" in other.roles and _lie(location, other)[1]:
            raise PlatformError(
                errors.LOCATION_EXCLUDED,
                f"the folder is not empty, and is backed up with the source {other.name}; a tier is not",
                field="url",
                hint="Choose an empty folder, best on another disk: what lies in a tier is never backed up.",
            )


def sources_around(location: Location, others: Iterable[Location]) -> list[Location]:
    """The sources that a folder lies in. Raises DiskSilent, an OSError, where its disk does not answer."""
    folders = (each for each in others if each.kind == location.kind == "directory" and "source" in each.roles)
    return [each for each in folders if each.name != location.name and _lie(location, each)[1]]


def tiers_inside(location: Location, others: Iterable[Location]) -> list[str]:
    """The tiers that lie in the part of a bucket that is a source, by name."""
    if location.kind != "s3" or "source" not in location.roles:
        return []
    buckets = (each for each in others if each.kind == "s3" and "tier" in each.roles and each.name != location.name)
    return sorted(each.name for each in buckets if _lie(each, location)[1])


def _refuse_beside(location: Location, other: Location) -> None:
    is_same, is_below, is_above = _lie(location, other)
    roles = (*location.roles, *other.roles)
    if is_same and ("tier" in roles or roles.count("target") == 2 or _share(location, other)):
        raise PlatformError(
            errors.LOCATION_TAKEN,
            f"the location {other.name} is at this place already",
            field="url",
            hint=f"Use {other.name}, or another place: what is kept in one place is one copy, whatever its names.",
        )
    if is_below and "tier" in other.roles:
        raise PlatformError(
            errors.LOCATION_EXCLUDED,
            f"the place lies in the tier {other.name}, where nothing but its repositories may be",
            field="url",
            hint="Choose a place that is no part of a tier: what is in one is never backed up, nor kept beside it.",
        )
    if is_above and "tier" in location.roles:
        raise PlatformError(
            errors.LOCATION_EXCLUDED,
            f"the location {other.name} lies in this place",
            field="url",
            hint="Choose a folder or a prefix of its own: what is in a tier is never backed up, nor another tier.",
        )


def _share(location: Location, other: Location) -> bool:
    """Whether somebody may use both."""
    both = (set(location.organisations), set(other.organisations))
    return any(ANY_ORGANISATION in each for each in both) or bool(both[0] & both[1])


def _lie(location: Location, other: Location) -> tuple[bool, bool, bool]:
    """Whether two locations of one kind are at one place, the first in the second, the second in the first."""
    if location.kind == "directory":
        first, second = _real(folder_of(location)), _real(folder_of(other), written=True)
        is_same = first == second or _is_one_folder(first, second)
        return is_same, not is_same and _is_within(first, second), not is_same and _is_within(second, first)
    if location.kind != "s3":
        return location.url == other.url, False, False
    (*bucket, prefix), (*others, beside) = place_of(location.url), place_of(other.url)
    if bucket != others:
        return False, False, False
    is_same = prefix == beside
    return is_same, not is_same and str(prefix).startswith(str(beside)), str(beside).startswith(str(prefix))


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _holds_something(path: bytes) -> bool:
    """More than a file system of its own brings."""
    folder = Path(os.fsdecode(path))
    return Disk(folder).answer(lambda: folder.is_dir() and any(each.name != "lost+found" for each in folder.iterdir()))


def _is_one_folder(first: bytes, second: bytes) -> bool:
    """Also by two mounts."""
    folder = Path(os.fsdecode(second))
    try:
        return Disk(folder).answer(lambda: folder.samefile(os.fsdecode(first)))
    except OSError:
        return False


def _real(path: bytes, *, written: bool = False) -> bytes:
    """Where a path leads. `written`: as it is written, where its disk does not answer."""
    try:
        return Disk(Path(os.fsdecode(path))).answer(lambda: os.path.realpath(path))
    except OSError:
        if not written:
            raise
        return os.path.abspath(path)
