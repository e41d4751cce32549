"""Which holds keep which recovery points, as the read models know it."""

from datetime import datetime
from typing import LiteralString

import msgspec

from contracts.hold_events import HoldPlaced
from gateway.projections.applied import Database, read_view

HELD_BY: LiteralString = """
    (SELECT coalesce(array_agg(h.hold_id ORDER BY h.hold_id), '{}') FROM retention_holds h
        WHERE h.organisation = p.organisation AND h.state = 'placed' AND p.gone_at IS NULL
        AND (h.configuration_ids = '{}' OR p.configuration_id = ANY(h.configuration_ids))
        AND (h.recovery_point_ids = '{}' OR p.recovery_point_id = ANY(h.recovery_point_ids))
        AND (h.tags = '{}' OR p.configuration_id = ANY(h.tagged) OR EXISTS (
            SELECT 1 FROM json_array_elements_text(c.body -> 'tags') AS tag WHERE tag = ANY(h.tags)))
        AND (h.made_from IS NULL OR p.completed_at >= h.made_from)
        AND (h.made_before IS NULL OR p.completed_at < h.made_before))
"""
"""The ids of the holds that keep the recovery point `p` of the configuration `c`."""
_IN_FORCE: LiteralString = """
    SELECT hold_id, fact::text FROM retention_holds WHERE organisation = %s AND state = 'placed' ORDER BY hold_id
"""
_FACT = msgspec.json.Decoder(HoldPlaced)


class HoldInForce(msgspec.Struct, frozen=True):
    """One that keeps recovery points."""

    fact: HoldPlaced

    def covers(self, point_id: str, configuration_id: str, at: datetime, tags: tuple[str, ...]) -> bool:
        """As `HoldScope.covers` says. `tags`: of the configuration now."""
        return self.fact.body.scope.covers(point_id, configuration_id, at, tags, self.fact.tagged)


async def holds_in_force(database: Database, organisation: str) -> list[HoldInForce]:
    """The holds of an organisation that are not released. Raises ViewUnreadable."""
    rows = await (await database.execute(_IN_FORCE, (organisation,))).fetchall()
    return [HoldInForce(placed(stored)) for _, stored in rows]


def placed(stored: str) -> HoldPlaced:
    """What is stored of a hold. Raises ViewUnreadable."""
    return read_view(stored, _FACT, "retention-holds")
