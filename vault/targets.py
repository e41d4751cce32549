"""Where a recovery may write: a folder of a location that operators have registered as a target.

Promise: never outside of the location, never in a folder of the platform's own, never in a tier nor around one; under
any policy but *refuse*, which overwrites nothing, never where something is that is itself a source. What a target holds
is looked at once more by the restore itself.
"""

import os
from collections.abc import Callable
from contextlib import suppress

from chassis.disk import Disk
from chassis.location import Location
from chassis.locations import Locations
from chassis.own_folders import OwnFolders, mount_over
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.recovery_events import ConflictPolicy
from repository.restore.names import MARKER_PREFIX
from vault.neighbours import Neighbour, NeighbourSilent, answering, tiers_beside
from vault.stores import find_location, folder_of

LOCATION, PATH, POLICY = "targetLocation", "targetPath", "conflictPolicy"
_Disks = Callable[[bytes], Disk]


def target_folder(
    locations: Locations,
    own: OwnFolders,
    organisation: str,
    *,
    location_name: str,
    relative: str,
    policy: ConflictPolicy,
    snapshot_id: str,
    disk: Callable[[bytes], Disk],
) -> bytes:
    """The folder, with no symlink left in its path. It asks the target's disk, and may hang with it.

    `disk`: of a folder, one for all who ask it: of a tier or a source, which may hang by itself.

    Raises UNKNOWN_LOCATION, LOCATIONS_UNREADABLE, LOCATION_KIND_MISMATCH, PATH_OUTSIDE_LOCATION, TARGET_UNUSABLE,
    TARGET_EXCLUDED, LOCATION_SILENT, TARGET_NEEDS_APPROVAL, TARGET_NOT_EMPTY, each of the field to correct.
    """
    location = find_location(locations, organisation, location_name, role="target")
    if location is None:
        if locations.is_faulty(location_name, organisation):
            raise PlatformError(errors.LOCATIONS_UNREADABLE, "the entry of the target's location cannot be used")
        raise _wrong(errors.UNKNOWN_LOCATION, "no target location of this name is open to the organisation", LOCATION)
    if location.kind != "directory":
        raise _wrong(errors.LOCATION_KIND_MISMATCH, "the target's location is not a directory", LOCATION)
    if location.is_shared:
        hint = f"Several organisations may use the location {location_name}, and would overwrite each other's: ask the "
        hint += "operator for one of your own."
        raise PlatformError(
            errors.TARGET_EXCLUDED, "the target's location is not one's alone", field=LOCATION, hint=hint
        )
    root = os.path.realpath(folder_of(location))
    if not os.path.isdir(root):
        raise _unusable(location_name, "is not there", LOCATION)
    if is_mounted(location, root) is False:
        raise _unusable(location_name, "its disk is not mounted", LOCATION)
    path = os.path.realpath(os.path.join(root, os.fsencode(relative)))
    if not _lies_in(path, root):
        raise _wrong(errors.PATH_OUTSIDE_LOCATION, "the target's path leaves its location", PATH)
    _refuse_excluded(own, path)
    _require_writable(location_name, path)
    overwrites = policy is not ConflictPolicy.REFUSE
    _refuse_neighbours(locations, path, organisation, disk, overwrites=overwrites)
    if not overwrites:
        _require_empty(location_name, path, snapshot_id)
    return path


def is_mounted(location: Location, root: bytes) -> bool | None:
    """Whether a target lies on the disk on which it was registered, or on another below its mount; None: unknown.

    `root`: its folder, with no symlink left. It asks the disk.
    """
    if location.mount is None:
        return None
    with suppress(OSError):
        os.stat(os.path.join(root, b"."))  # Has what is mounted at the first use mounted.
    over = mount_over(root)
    return None if over is None else _lies_in(over, os.fsencode(location.mount))


def _refuse_excluded(own: OwnFolders, path: bytes) -> None:
    if own.hold(path) or any(_lies_in(os.path.realpath(each), path) for each in own.places()):
        raise _wrong(errors.TARGET_EXCLUDED, "the target lies in a folder of the platform's own, or around one", PATH)


def _refuse_neighbours(locations: Locations, path: bytes, organisation: str, disk: _Disks, *, overwrites: bool) -> None:
    """Raise where a path lies in or around a tier, another organisation's target or, if it `overwrites`, a source."""
    neighbours = tiers_beside(locations, organisation)
    neighbours += [
        Neighbour(folder_of(each), each.name, "target", is_open=False)
        for each in locations.of_role("target")
        if not each.is_open_to(organisation)
    ]
    neighbours += [
        Neighbour(folder_of(each), each.name, "source", each.is_open_to(organisation))
        for each in (locations.of_role("source") if overwrites else ())
        if each.kind == "directory"
    ]
    try:
        reals = answering(path, neighbours, disk, os.path.realpath)
    except NeighbourSilent as error:
        shown = error.neighbour.shown
        raise PlatformError(
            errors.LOCATION_SILENT,
            f"whether {shown} lies in the target, or around it, cannot be told: its disk does not answer",
            field=PATH,
            hint=f"What does not answer is the disk of {shown}. {errors.LOCATION_SILENT.hint}",
        ) from error
    met = {each.role for each, real in reals if _lies_in(path, real) or _lies_in(real, path)}
    if "tier" in met:
        raise _wrong(errors.TARGET_EXCLUDED, "the target lies in a tier, or around one", PATH)
    if "target" in met:
        hint = "It lies in a place where another organisation restores to, or around one: choose another folder."
        raise PlatformError(errors.TARGET_EXCLUDED, "the target is another organisation's", field=PATH, hint=hint)
    if "source" in met:
        raise _wrong(errors.TARGET_NEEDS_APPROVAL, "the target lies in a source, or around one", PATH)


def _require_writable(location: str, path: bytes) -> None:
    at = path
    while not os.path.lexists(at):
        at = os.path.dirname(at)
    if not os.path.isdir(at):
        raise _unusable(location, "there is something in its place that is no folder", PATH)
    if not os.access(at, os.W_OK | os.X_OK):
        raise _unusable(location, "the platform may not write there", PATH)


def _require_empty(location: str, path: bytes, snapshot_id: str) -> None:
    try:
        found = os.listdir(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(location, (error.strerror or "it cannot be read").lower(), PATH) from error
    if found and MARKER_PREFIX + snapshot_id[:16].encode() not in found:
        raise _wrong(errors.TARGET_NOT_EMPTY, f"the target holds {len(found)} entries", PATH)


def _lies_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _wrong(code: ErrorCode, message: str, field: str) -> PlatformError:
    return PlatformError(code, message, field=field)


def _unusable(location: str, reason: str, field: str) -> PlatformError:
    hint = f"The target in the location {location} cannot be used: {reason}. {errors.TARGET_UNUSABLE.hint}"
    return PlatformError(errors.TARGET_UNUSABLE, f"the target cannot be used: {reason}", field=field, hint=hint)
