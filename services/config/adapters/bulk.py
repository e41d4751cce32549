"""Items of requests for several configurations, in a table beside the record until they are decided."""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec

from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement
from contracts import errors
from contracts.config_events import ConfigurationCreated
from contracts.envelope import encode_data
from contracts.errors import PlatformError
from contracts.gateway_events import ConfigurationItemSubmitted
from contracts.reading import read_json
from services.config.adapters.record import TAKE_NAME, waits_for
from services.config.domain import Configuration, ConfigurationBulk

KEPT_DAYS = 7
"""So long items are kept whose request was never decided: its message was given up, and it was refused."""

_KEEP = "INSERT INTO bulk_items (request_id, position, item) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_COUNT = "SELECT count(*) FROM bulk_items WHERE request_id = %s"
_ITEMS = "SELECT item FROM bulk_items WHERE request_id = %s ORDER BY position"
_LET_GO = "DELETE FROM bulk_items WHERE request_id = %s OR arrived_at < clock_timestamp() - make_interval(days => %s)"
_TAKEN = "SELECT digest FROM configuration_names WHERE organisation = %s AND digest = ANY(%s)"
_TAKE_NAMES = """
    INSERT INTO configuration_names (organisation, digest, configuration_id)
    SELECT %s, digest, id FROM unnest(%s::text[], %s::text[]) AS new (digest, id)
"""
_ITEM = msgspec.json.Decoder(ConfigurationItemSubmitted)


class GatheredItems:
    """`Gathered` on a table of the config service's own."""

    def __init__(self, store: EventStore, pool: Pool) -> None:
        self._store = store
        self._pool = pool

    async def keep(self, item: ConfigurationItemSubmitted, handling: Handling) -> None:
        """Keep an item with the inbox row, in one transaction."""
        kept = Statement(_KEEP, (item.bulk_id, item.position, bytes(encode_data(item))))
        await self._store.save(context=handling.context, handled=handling.handled, also=[kept])

    async def is_decided(self, request_id: str) -> bool:
        """Whether a request has its answer."""
        return await self._store.find(ConfigurationBulk, request_id) is not None

    async def count(self, request_id: str) -> int:
        """How many of a request there are."""
        ((number,),) = await self._rows(_COUNT, (request_id,))
        return int(number)

    async def items(self, request_id: str) -> Sequence[ConfigurationItemSubmitted]:
        """Those of a request, in their order."""
        rows = await self._rows(_ITEMS, (request_id,))
        try:
            return [read_json(item, _ITEM) for (item,) in rows]
        except msgspec.MsgspecError as error:
            raise PlatformError(
                errors.EVENT_UNREADABLE, "an item that is kept cannot be read by this build", request_id=request_id
            ) from error

    async def taken(self, digests: Sequence[str], organisation: str) -> Sequence[str]:
        """Those of some names that are taken."""
        return [digest for (digest,) in await self._rows(_TAKEN, (organisation, list(digests)))]

    async def record(self, bulk: ConfigurationBulk, made: Sequence[Configuration], handling: Handling) -> None:
        """Record the answers, in one transaction."""
        organisation = handling.context.organisation
        created = [event for each in made for event in each.pending if isinstance(event, ConfigurationCreated)]
        digests, ids = [each.body.name_digest for each in created], [each.configuration_id for each in created]
        also = [
            Statement(_TAKE_NAMES, (organisation, digests, ids), rows=len(ids), name=TAKE_NAME),
            *(waits_for(each.configuration_id, each.next_run_at) for each in created if each.next_run_at is not None),
            Statement(_LET_GO, (bulk.id, KEPT_DAYS)),
        ]
        await self._store.save(*made, bulk, context=handling.context, handled=handling.handled, also=also)

    async def _rows(self, query: LiteralString, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with translated():
            async with self._pool.connection() as connection:
                return await (await connection.execute(query, parameters)).fetchall()
