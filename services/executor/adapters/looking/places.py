"""A look at the places of a configuration, as a run of it would find them: `Places`.

Promise: nothing is left that anybody could take for a part of a backup: what is written for the trial lies in a folder
of its own beside the repositories, under a name that is drawn for it, and goes with it. Each place is looked at by a
thread of its own and given up after `PLACE_SECONDS`; of a disk that hangs one thread is held, however often it is
tested (`chassis.disk`). What could not be found out is said to be undecided.
"""

import secrets
from collections.abc import Callable
from pathlib import Path

from chassis.clock import Clock
from chassis.disk import Disk
from chassis.locations import Locations
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import SOURCE_IDENTIFIER_FIELD
from contracts.trial import Check, CostEstimate, Finding, Verdict
from services.executor.adapters.looking.place import ASK_SECONDS, Place, Told, at_once
from services.executor.adapters.looking.source import SourcePlace
from services.executor.adapters.looking.tier import FOLDER, TierPlace
from services.executor.adapters.run_sources import RunSources
from services.executor.ports import TrialTask
from vault.key_files import RepositoryKeys, name_of, was_made


class LookedAt:
    """`Places` on the registry, the keys and the stores of runs."""

    def __init__(
        self,
        *,
        locations: Locations,
        sources: RunSources,
        sealer: Sealer,
        keys_dir: Path,
        disk: Callable[[bytes], Disk],
        reserve_bytes: int,
        clock: Clock,
    ) -> None:
        self.locations = locations
        self.sources = sources
        self.sealer = sealer
        self.keys_dir = keys_dir
        self.disk = disk
        self.reserve_bytes = reserve_bytes
        self.clock = clock

    def look(self, organisation: str, task: TrialTask) -> tuple[tuple[Finding, ...], CostEstimate]:
        """See `Places.look`."""
        drawn = FOLDER + secrets.token_hex(8)
        tiers = {
            tier: TierPlace(
                self.locations,
                self.keys_dir,
                self.disk,
                self.clock,
                self.reserve_bytes,
                organisation,
                tier,
                destination,
                drawn,
            )
            for tier, destination in task.body.storage_destinations.by_tier().items()
        }
        source = SourcePlace(self.locations, self.sources, self.disk, organisation, task)
        keys = self._keys(organisation, task)
        try:
            at_once([source.place.run, keys.run, *(each.place.run for each in tiers.values())])
            at_once([each.look_around for each in tiers.values()], seconds=2 * ASK_SECONDS)
        finally:
            at_once([each.clear for each in tiers.values()], seconds=2 * ASK_SECONDS)
        findings = [*source.place.findings(), *keys.findings()]
        for each in tiers.values():
            findings += each.findings(tiers)
        return tuple(findings), source.estimate()

    def _keys(self, organisation: str, task: TrialTask) -> Place:
        def usable() -> None:
            self.sealer.open(organisation, SOURCE_IDENTIFIER_FIELD, task.body.source_identifier)
            # None was made yet where nothing was backed up yet: the first run makes it.
            is_there = was_made(self.keys_dir, organisation) or (self.keys_dir / name_of(organisation)).exists()
            if is_there and name_of(organisation) in RepositoryKeys(self.keys_dir, _nobody).unusable([organisation]):
                raise Told(Verdict.FAIL, errors.KEYS_UNUSABLE)

        return Place([(Check.KEYS_USABLE, usable)], "", errors.KEYS_UNREACHABLE)


async def _nobody() -> list[str]:
    return []
