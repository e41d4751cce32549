"""The sealing keys in a process's readiness: which files are missing or damaged, and what is to be done about it."""

import asyncio

from chassis.health import DEGRADED, Health
from chassis.sealing import Sealer
from contracts.errors import KEYS_UNUSABLE, PlatformError

NAMED_MAX = 5
"""How many keys a message names."""


def add_key_checks(health: Health, sealer: Sealer) -> None:
    """Not ready while the folder is gone; degraded while some keys are: other organisations work."""

    async def folder() -> PlatformError | None:
        await asyncio.to_thread(sealer.check_folder)
        return None

    async def keys() -> PlatformError | None:
        try:
            unusable = await asyncio.to_thread(sealer.unusable)
        except PlatformError as error:
            return error
        return keys_unusable(unusable) if unusable else None

    health.add("keys-folder", folder)
    health.add("keys", keys, worst=DEGRADED)


def keys_unusable(names: list[str]) -> PlatformError:
    """What an operator is told of keys that were made and cannot be used, by their names below the keys folder."""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return PlatformError(
        KEYS_UNUSABLE,
        f"keys in the folder of WEDSYNC_KEYS_DIR are missing or damaged: {', '.join(names[:NAMED_MAX])}{more}",
        hint="Put these files back from the copy of the folder, with the mode 0600; all reads again at once. They are "
        "not made anew.",
    )
