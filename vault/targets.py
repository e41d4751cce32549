"""Where a recovery may write: a folder of a location that operators have registered as a target.

Promise: never outside of the location, never in a folder of the platform's own, never in a tier nor around one; under
any policy but *refuse*, which overwrites nothing, never where something is that is itself a source. What a target holds
is looked at once more by the restore itself.
"""

import os
from collections.abc import Callable, Sequence

from chassis.disk import Disk
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
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
    root = os.path.realpath(folder_of(location))
    if not os.path.isdir(root):
        raise _unusable(location_name, "is not there", LOCATION)
    path = os.path.realpath(os.path.join(root, os.fsencode(relative)))
    if not _lies_in(path, root):
        raise _wrong(errors.PATH_OUTSIDE_LOCATION, "the target's path leaves its location", PATH)
    _refuse_excluded(locations, own, path, organisation, disk)
    _require_writable(location_name, path)
    if policy is not ConflictPolicy.REFUSE:
        _refuse_sources(locations, path, organisation, disk)
    else:
        _require_empty(location_name, path, snapshot_id)
    return path


def _refuse_excluded(locations: Locations, own: OwnFolders, path: bytes, organisation: str, disk: _Disks) -> None:
    if own.hold(path) or any(_lies_in(os.path.realpath(each), path) for each in own.places()):
        raise _wrong(errors.TARGET_EXCLUDED, "the target lies in a folder of the platform's own, or around one", PATH)
    if _overlaps(path, tiers_beside(locations, organisation), disk):
        raise _wrong(errors.TARGET_EXCLUDED, "the target lies in a tier, or around one", PATH)


def _refuse_sources(locations: Locations, path: bytes, organisation: str, disk: _Disks) -> None:
    sources = [
        Neighbour(folder_of(each), each.name, "source", each.is_open_to(organisation))
        for each in locations.sources()
        if each.kind == "directory"
    ]
    if _overlaps(path, sources, disk):
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


def _overlaps(path: bytes, others: Sequence[Neighbour], disk: _Disks) -> bool:
    """Whether a path lies in or around one of some folders. Raises LOCATION_SILENT where that cannot be told."""
    try:
        reals = [real for _, real in answering(path, others, disk, os.path.realpath)]
    except NeighbourSilent as error:
        shown = error.neighbour.shown
        raise PlatformError(
            errors.LOCATION_SILENT,
            f"whether {shown} lies in the target, or around it, cannot be told: its disk does not answer",
            field=PATH,
            hint=f"What does not answer is the disk of {shown}. {errors.LOCATION_SILENT.hint}",
        ) from error
    return any(_lies_in(path, each) or _lies_in(each, path) for each in reals)


def _lies_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _wrong(code: ErrorCode, message: str, field: str) -> PlatformError:
    return PlatformError(code, message, field=field)


def _unusable(location: str, reason: str, field: str) -> PlatformError:
    hint = f"The target in the location {location} cannot be used: {reason}. {errors.TARGET_UNUSABLE.hint}"
    return PlatformError(errors.TARGET_UNUSABLE, f"the target cannot be used: {reason}", field=field, hint=hint)
