"""The sealing keys in a process's readiness and figures: which are missing or damaged, how old they are, what to do."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.key_errors import mark_of
from chassis.life.health import DEGRADED, Health
from chassis.sealing import Sealer
from chassis.telemetry.instruments import Telemetry
from contracts.errors import KEYS_UNUSABLE, SEALING_KEY_MISSING, PlatformError
from contracts.sealed import Sealed

NAMED_MAX = 5
"""How many keys a message names."""
TRIED_MAX = 500
"""The keys of so many organisations are tried by one look."""
Entries = Awaitable[Mapping[str, list[tuple[str, Sealed]]]]


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


class KeysOfTenants:
    """Which organisations of the record have no keys, or others than have sealed what they have there.

    Of the first an older copy of the folder knows nothing; of the second a list of keys that was lost, or begun anew.
    So a key is tried on an entry of the record once, and again where its folders have changed.
    `organisations`: whose names the record has sealed. `entries`: of some of them, boxes with the name of their field.
    Both may raise UNAVAILABLE.
    """

    def __init__(
        self, sealer: Sealer, organisations: Callable[[], Awaitable[list[str]]], entries: Callable[[list[str]], Entries]
    ) -> None:
        self._sealer, self._organisations, self._entries = sealer, organisations, entries
        self._tried: dict[str, tuple[int, ...]] = {}
        self.lacking: list[str] = []
        """What the last look found, by their names below the keys folder."""
        self.was_looked = False

    async def look(self) -> list[str]:
        """What is missing or wrong now. Whose keys are noted as theirs may be tried by a later look."""
        names = await self._organisations()
        known, unknown = await self._sealer.ask(lambda: self._untried(names))
        chosen = (unknown + known)[:TRIED_MAX]
        entries = await self._entries(chosen) if chosen else {}
        wrong = await self._sealer.ask(lambda: self._wrong(chosen, entries))
        self.lacking = [f"organisations/{name}" for name in [*wrong, *unknown[TRIED_MAX:]]]
        self.was_looked = True
        return self.lacking

    def _untried(self, names: list[str]) -> tuple[list[str], list[str]]:
        """Those that are to be tried: with keys that are noted as theirs, and without."""
        known, unknown = list[str](), list[str]()
        for name in names:
            mark = self._mark_of(name)
            if mark is None or self._tried.get(name) != mark:
                (known if all(self._sealer.has_keys(name)) else unknown).append(name)
        return known, unknown

    def _wrong(self, names: list[str], entries: Mapping[str, list[tuple[str, Sealed]]]) -> list[str]:
        """Of these, whose keys are missing, or open nothing of what is there. One that opens something is noted."""
        found = []
        for name in names:
            mark, opens = self._mark_of(name), self._opens_any(name, entries.get(name, []))
            if opens and all(self._sealer.has_keys(name)):
                if mark is not None:
                    self._tried[name] = mark
            else:
                found.append(name)
        return found

    def _opens_any(self, organisation: str, entries: list[tuple[str, Sealed]]) -> bool:
        """Whether its keys open one of these, or none proves anything: whose key was destroyed does not."""
        is_refused = False
        for field, sealed in entries:
            try:
                self._sealer.open(organisation, field, sealed)
            except PlatformError as error:
                if error.code not in (SEALING_KEY_MISSING, KEYS_UNUSABLE):
                    raise
                is_refused |= error.code is KEYS_UNUSABLE
            else:
                return True
        return not is_refused

    def _mark_of(self, organisation: str) -> tuple[int, ...] | None:
        """When an organisation's keys have changed, and their folders; None where one is not there."""
        folder = f"{self._sealer.folder}/organisations/{organisation}"
        marks = [mark_of(f"{folder}/{each}") for each in ("", "organisation", "organisation/1.key", "digest")]
        return sum(marks, ()) if all(marks) else None


def add_keys_of_tenants(health: Health, tenants: KeysOfTenants) -> None:
    """Degraded while an organisation of the record has no keys, or others."""

    async def check() -> PlatformError | None:
        try:
            await tenants.look()
        except PlatformError as error:
            # Where users' own requests take all places nothing is wrong with a key: what was last found counts.
            if error.context.get("part") != "gateway" or not tenants.was_looked:
                raise
        return keys_unusable(tenants.lacking) if tenants.lacking else None

    health.add("keys-of-organisations", check, worst=DEGRADED)


def add_key_figures(telemetry: Telemetry, sealer: Sealer, tenants: KeysOfTenants | None = None) -> None:
    """How many keys there are, and since when the oldest of those in use. No organisation is named."""

    async def read() -> list[Metric]:
        written, unusable = await sealer.ask(lambda: (sealer.written_at(), sealer.unusable()))
        if tenants is not None:
            # While the record does not answer what it was last found to lack counts.
            with contextlib.suppress(PlatformError):
                await tenants.look()
            unusable += [each for each in tenants.lacking if not any(file.startswith(f"{each}/") for file in unusable)]
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
