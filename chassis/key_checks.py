"""The sealing keys in a process's readiness: which files are missing, and that nothing else is to be done about it."""

import asyncio

from chassis.health import DEGRADED, Health
from chassis.sealing import Sealer
from contracts.errors import KEYS_UNUSABLE, PlatformError

NAMED_MAX = 5
"""How many missing keys a message names."""


def add_key_checks(health: Health, sealer: Sealer) -> None:
    """Not ready while the folder is gone; degraded while some keys are: other organisations work."""

    async def folder() -> PlatformError | None:
        await asyncio.to_thread(sealer.check_folder)
        return None

    async def keys() -> PlatformError | None:
        try:
            missing = await asyncio.to_thread(sealer.missing)
        except PlatformError as error:
            return error
        return _told(missing) if missing else None

    health.add("keys-folder", folder)
    health.add("keys", keys, worst=DEGRADED)


def _told(missing: list[str]) -> PlatformError:
    more = f" and {len(missing) - NAMED_MAX} more" if len(missing) > NAMED_MAX else ""
    return PlatformError(
        KEYS_UNUSABLE,
        f"the folder of WEDSYNC_KEYS_DIR lacks keys that were made: {', '.join(missing[:NAMED_MAX])}{more}",
        hint="Put these files back from the copy of the folder; all reads again at once. They are not made anew.",
    )
