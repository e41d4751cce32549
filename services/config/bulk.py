"""Several configurations that are asked for at once: gathered as they arrive, then judged and recorded together.

Promise: each item has one answer, and all of them, with the answer to the whole, are one transaction. So a crash leaves
everything or nothing to do anew, and of an atomic request nothing is created where one item is refused.
"""

import asyncio
from collections.abc import Sequence

from chassis.handling import Handling
from contracts import errors
from contracts.config_events import ConfigurationRefused, ConfigurationsRefused
from contracts.configuration import BulkMode
from contracts.configuration_rules import names_in, objection
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationItemSubmitted, ConfigurationsSubmitted
from contracts.refusal import Objected, Objection
from services.config.application import ConfigurationDecisions, Schedules
from services.config.domain import Configuration, ConfigurationBulk
from services.config.ports import Gathered

LOOKS = 100
LOOK_SECONDS = 0.1
"""How often it is looked for items while no more arrive: those of a request come before it, on another consumer."""


class BulkDecisions:
    """Creates the configurations of one request, or refuses to."""

    def __init__(self, gathered: Gathered, decisions: ConfigurationDecisions, schedules: Schedules) -> None:
        self._gathered = gathered
        self._decisions = decisions
        self._schedules = schedules

    async def gather(self, item: ConfigurationItemSubmitted, handling: Handling) -> None:
        """Keep an item until its request is taken."""
        await self._gathered.keep(item, handling)

    async def decide(self, request: ConfigurationsSubmitted, handling: Handling) -> None:
        """Answer all items of a request, in the record. Raises BULK_NOT_SEEN_YET to be asked again later."""
        if await self._gathered.is_decided(request.request_id):
            return  # Its items are let go of: this message comes once more.
        items = await self._arrived(request)
        against = await self._against(items, handling)
        is_refused = all(against) or (request.mode is not BulkMode.PARTIAL and any(against))
        made = [Configuration(item.configuration_id) for item in items]
        now = (await self._schedules.now()) if not is_refused else None
        for configuration, item, why in zip(made, items, against, strict=True):
            if why or is_refused:
                # In a history of its own, as each refusal of a configuration is.
                refusal = Objected(why) if why else PlatformError(errors.BULK_REFUSED, "another item is refused")
                configuration.record(ConfigurationRefused.of(item, refusal))
                continue
            organisation = handling.context.organisation
            next_run_at = await self._schedules.next_run(configuration.id, item.body, organisation, now)
            configuration.create(request_id=item.request_id, body=item.body, next_run_at=next_run_at)
            await asyncio.sleep(0)  # A plan is a calculation of its own: the others' turn.
        bulk = ConfigurationBulk(request.request_id)
        if is_refused:
            bulk.record(ConfigurationsRefused.of(request, PlatformError(errors.BULK_REFUSED, "an item is refused")))
        else:
            bulk.answer(created=len([why for why in against if not why]), refused=len([why for why in against if why]))
        await self._gathered.record(bulk, made, handling)

    async def _arrived(self, request: ConfigurationsSubmitted) -> Sequence[ConfigurationItemSubmitted]:
        seen, idle = -1, 0
        while idle < LOOKS:
            count = await self._gathered.count(request.request_id)
            if count >= request.items:
                return await self._gathered.items(request.request_id)
            # As long as more of them come it is no failure that the others are on their way.
            seen, idle = count, 0 if count > seen else idle + 1
            await asyncio.sleep(LOOK_SECONDS)
        raise PlatformError(errors.BULK_NOT_SEEN_YET, "not all items have arrived")

    async def _against(
        self, items: Sequence[ConfigurationItemSubmitted], handling: Handling
    ) -> list[Sequence[Objection]]:
        """All that speaks against each. A name belongs to the first that has it and is not refused."""
        organisation = handling.context.organisation
        bodies = [item.body for item in items]
        names = {name for body in bodies for name in names_in(body.source_location, body.storage_destinations)}
        found = await self._decisions.look_up(names, organisation, await self._schedules.now())
        taken = set(await self._gathered.taken([body.name_digest for body in bodies], organisation))
        every: list[Sequence[Objection]] = []
        for body in bodies:
            against = await self._decisions.against(body, found)
            if not against and body.name_digest in taken:
                against = [objection(errors.CONFIGURATION_NAME_TAKEN, "name")]
            if not against:
                taken.add(body.name_digest)
            every.append(against)
            await asyncio.sleep(0)
        return every
