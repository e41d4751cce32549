"""The sealing keys in a process's readiness and figures: which are missing or damaged, how old they are, what to do."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.life.health import DEGRADED, Health
from chassis.sealing import Sealer
from chassis.telemetry.instruments import Telemetry
from contracts.errors import KEYS_UNUSABLE, PlatformError

NAMED_MAX = 5
"""How many keys a message names."""


def add_key_checks(health: Health, sealer: Sealer) -> None:
    """Not ready while the folder is gone; degraded while some keys are: other organisations work."""

    async def folder() -> PlatformError | None:
        await sealer.ask(sealer.check_folder)
        return None

    async def keys() -> PlatformError | None:
        try:
            unusable = await sealer.ask(sealer.unusable)
        except PlatformError as error:
            return error
        return keys_unusable(unusable) if unusable else None

    health.add("keys-folder", folder)
    health.add("keys", keys, worst=DEGRADED)


def add_keys_of_tenants(health: Health, sealer: Sealer, organisations: Callable[[], Awaitable[list[str]]]) -> None:
    """Degraded while an organisation of the record has no keys: of that an older copy of the folder knows nothing.

    `organisations`: whose names the record has sealed; may raise UNAVAILABLE.
    """
    known: dict[str, tuple[int, ...]] = {}

    def lacking_of(names: list[str]) -> list[str]:
        """Those without keys. One that had its keys is looked at again where its folders have changed."""
        found = []
        for name in names:
            mark = _mark_of(sealer.folder / "organisations" / name)
            if mark is not None and known.get(name) == mark:
                continue
            known.pop(name, None)
            if not all(sealer.has_keys(name)):
                found.append(f"organisations/{name}")
            elif mark is not None:
                known[name] = mark
        return found

    async def check() -> PlatformError | None:
        names = await organisations()
        lacking = await sealer.ask(lambda: lacking_of(names))
        return keys_unusable(lacking) if lacking else None

    health.add("keys-of-organisations", check, worst=DEGRADED)


def _mark_of(folder: Path) -> tuple[int, ...] | None:
    """When the folders of an organisation's keys have changed; None where one is not there."""
    try:
        return tuple([each.stat().st_mtime_ns for each in (folder, folder / "organisation", folder / "digest")])
    except OSError:
        return None


def add_key_figures(telemetry: Telemetry, sealer: Sealer) -> None:
    """How many keys there are, and since when the oldest of those in use. No organisation is named."""

    async def read() -> list[Metric]:
        written, unusable = await sealer.ask(lambda: (sealer.written_at(), sealer.unusable()))
        families = [
            GaugeMetricFamily(
                "wedsync_sealing_keys", "Sealing keys in use, of organisations and subjects.", len(written)
            ),
            GaugeMetricFamily("wedsync_sealing_keys_unusable", "Sealing keys missing or damaged.", len(unusable)),
        ]
        if written:
            families.append(
                GaugeMetricFamily(
                    "wedsync_sealing_key_oldest_timestamp_seconds",
                    "When the oldest sealing key in use was written.",
                    min(written),
                )
            )
        return list(families)

    telemetry.figures.add("keys", read)


def keys_unusable(names: list[str]) -> PlatformError:
    """What an operator is told of keys that were made and cannot be used, by their names below the keys folder."""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return PlatformError(
        KEYS_UNUSABLE,
        "keys in the folder of WEDSYNC_KEYS_DIR are missing or damaged, or others lie in their place: "
        f"{', '.join(names[:NAMED_MAX])}{more}",
        hint="Put these files back from the copy of the folder, with the mode 0600; all reads again at once. They are "
        "not made anew.",
    )
