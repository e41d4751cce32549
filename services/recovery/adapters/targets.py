"""The target of a recovery, looked at by the deciding process and by the worker."""

import logging
import os
from functools import partial
from pathlib import Path

from chassis.disk import Disk
from chassis.locations import Locations
from chassis.own_folders import OwnFolders
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError, Retry
from contracts.recovery_events import TARGET_PATH_FIELD
from contracts.refusal import Objection
from services.recovery.kept import Order
from vault.targets import target_folder

LOOK_SECONDS = 5.0
FOLDER_DIGEST = "recovery.target-folder"
"""The purpose of the keyed digest of a folder's real path, in hex."""

_log = logging.getLogger(__name__)


class LookedAtTargets:
    """`Targets` on the registry and the disks."""

    def __init__(self, locations: Locations, own: OwnFolders, sealer: Sealer) -> None:
        self._locations = locations
        self._own = own
        self._sealer = sealer
        self._disks: dict[str, Disk] = {}
        self._neighbours: dict[bytes, Disk] = {}

    def folder(self, organisation: str, order: Order) -> bytes:
        """Where to write. Blocks. Raises as `vault.targets.target_folder`, and KEYS_…."""
        relative = self._sealer.open(organisation, TARGET_PATH_FIELD, order.target_path)
        return target_folder(
            self._locations,
            self._own,
            organisation,
            location_name=order.target_location,
            relative=relative,
            policy=order.conflict_policy,
            snapshot_id=order.snapshot_id,
            disk=lambda folder: self._neighbours.setdefault(folder, Disk(Path(os.fsdecode(folder)))),
        )

    async def examined(self, organisation: str, order: Order) -> Objection | str:
        """See `Targets.examined`; what may be over by itself raises, to be asked again."""
        # One for each location: a disk that hangs keeps nobody from being refused, or taken on, elsewhere.
        disk = self._disks.setdefault(order.target_location, Disk(Path(f"target {order.target_location}")))
        try:
            folder = await disk.ask(partial(self.folder, organisation, order), seconds=LOOK_SECONDS)
        except OSError:  # it hangs, or says nothing
            # Taken on by its words alone, another recovery could write to the same folder under another name.
            _log.warning("a target does not answer", extra={"location": order.target_location})
            hint = f"The disk of the location {order.target_location} does not answer. {errors.TARGET_UNUSABLE.hint}"
            return Objection(errors.TARGET_UNUSABLE, "targetLocation", hint)
        except PlatformError as error:
            if error.retry is Retry.LATER or error.field is None:
                raise
            return Objection(error.code, error.field, error.hint)
        else:
            return await self._sealer.ask(partial(self._sealer.digest, organisation, FOLDER_DIGEST, folder.hex()))
