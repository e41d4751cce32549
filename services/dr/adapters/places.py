"""Where executions write to: as the plan says, or below the organisation's place of tests to folders of their own.

Promise: what a test restores lies in `dr-tests/<execution>/` of that place and nowhere else, and nothing but that is
ever removed, whatever links lead there.
"""

import os
import shutil
import stat
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chassis.disk import Disk
from chassis.location import Location
from chassis.locations import Locations
from chassis.own_folders import mount_over
from chassis.sealing import Sealer
from contracts import errors
from contracts.disaster import STEP_PATH_FIELD, PlanBody, StepKind, StepTarget
from contracts.errors import PlatformError
from contracts.recovery_events import TARGET_PATH_FIELD
from contracts.refusal import Objection

FOLDER = "dr-tests"
"""Of all tests, below the place of tests."""
LOOK_SECONDS = 5.0
REMOVE_SECONDS = 15.0
"""What is not gone by then goes on, and is looked at again."""


class RegisteredPlaces:
    """`Places` on the registry and the disks. `for_tests`: names of locations, the first that fits is taken."""

    def __init__(self, locations: Locations, sealer: Sealer, test_locations: Sequence[str]) -> None:
        self._locations = locations
        self._sealer = sealer
        self._test_locations = tuple(test_locations)
        self._disks: dict[str, Disk] = {}

    async def for_tests(self, organisation: str) -> str | Objection:
        """The first location of the setting that is this organisation's alone, and that can be cleaned up."""
        offered = {each.name: each for each in await self._locations.offered_to(organisation)}
        for name in self._test_locations:
            location = offered.get(name)
            if location is None or location.kind != "directory" or "target" not in location.roles or location.is_shared:
                continue
            folder = _folder(location)
            try:
                is_there = await self._disk(name, folder).ask(partial(_is_writable, folder), seconds=LOOK_SECONDS)
            except OSError:
                is_there = False
            if not is_there:
                hint = f"The folder of the location {name} is not there for the dr service, or cannot be written to."
                return Objection(errors.DR_TEST_PLACE_MISSING, "planId", f"{hint} {errors.DR_TEST_PLACE_MISSING.hint}")
            return name
        return Objection(errors.DR_TEST_PLACE_MISSING, "planId", errors.DR_TEST_PLACE_MISSING.hint)

    async def targets(
        self, organisation: str, execution_id: str, body: PlanBody, *, test_place: str | None
    ) -> Sequence[StepTarget]:
        """Where each restore goes, its path sealed as a recovery's."""
        return await self._sealer.ask(partial(self._targets, organisation, execution_id, body, test_place))

    def _targets(
        self, organisation: str, execution_id: str, body: PlanBody, test_place: str | None
    ) -> Sequence[StepTarget]:
        found = []
        for step in body.procedures:
            if step.kind is not StepKind.RESTORE or step.target_location is None:
                continue
            if test_place is not None:
                location, path = test_place, f"{FOLDER}/{execution_id}/{step.id}"
            else:
                location = step.target_location
                path = self._sealer.open(organisation, STEP_PATH_FIELD, step.target_path) if step.target_path else ""
            sealed = self._sealer.seal(organisation, TARGET_PATH_FIELD, path)
            found.append(StepTarget(step_id=step.id, location=location, path=sealed))
        return found

    async def remove(self, organisation: str, execution_id: str, location: str) -> None:
        """Remove the folder of one test."""
        found = {each.name: each for each in await self._locations.offered_to(organisation)}.get(location)
        if found is None:
            raise _not_cleaned(location, "it is not registered any more")
        folder = _folder(found)
        try:
            question = partial(remove_test, folder, execution_id, mount=found.mount)
            await self._disk(location, folder).ask(question, seconds=REMOVE_SECONDS)
        except OSError as error:
            raise _not_cleaned(location, (error.strerror or "it cannot be removed").lower()) from error

    def _disk(self, name: str, folder: bytes) -> Disk:
        return self._disks.setdefault(name, Disk(Path(os.fsdecode(folder))))


def remove_test(folder: bytes, execution_id: str, *, mount: str | None = None) -> None:
    """Remove what a test has restored below its location's folder. Blocks. Raises OSError where any of it stays.

    `mount`: where the location's disk was mounted when it was registered.
    """
    root = os.path.realpath(folder)
    if mount is not None and not _is_mounted(root, os.fsencode(mount)):
        raise OSError(0, "its disk is not mounted")
    at = os.path.join(root, FOLDER.encode(), execution_id.encode())
    if os.path.realpath(at) != at:
        raise OSError(0, f"a link leads out of it below {FOLDER}")
    if not os.path.lexists(at):
        # Of a disk that is not there nobody knows what is on it.
        if not os.path.isdir(root):
            raise OSError(0, "the folder of the location is not there")
        return
    _open(at)
    for above, names, _ in os.walk(at):
        for name in names:
            _open(os.path.join(above, name))
    shutil.rmtree(at)


def _is_mounted(root: bytes, mount: bytes) -> bool:
    os.stat(os.path.join(root, b"."))  # Has what is mounted at the first use mounted.
    over = mount_over(root)
    return over is not None and os.path.commonpath([over, mount]) == mount


def _open(folder: bytes) -> None:
    """What was restored may be of a mode that keeps its owner from removing it."""
    if stat.S_ISDIR(os.lstat(folder).st_mode):
        os.chmod(folder, 0o700)  # noqa: PTH101  # a name is bytes


def _is_writable(folder: bytes) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)


def _folder(location: Location) -> bytes:
    return os.fsencode(unquote(urlsplit(location.url).path, errors="surrogateescape"))


def _not_cleaned(location: str, reason: str) -> PlatformError:
    hint = f"It is the location {location}: {reason}. {errors.DR_TEST_NOT_CLEANED.hint}"
    return PlatformError(errors.DR_TEST_NOT_CLEANED, f"what a test has restored stays: {reason}", hint=hint)
