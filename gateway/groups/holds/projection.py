"""The read model of holds. The executor's stream alone changes it."""

from collections import Counter

from contracts.hold_events import HoldFact, HoldPlaced, HoldReleaseAwaited, HoldReleased
from gateway.projections.applied import Database, Row, upsert
from gateway.projections.projection import Batch, Projection, Side

_PLACE = """
    INSERT INTO {retention_holds} (hold_id, organisation, request_id, placed_by, placed_at, state,
        configuration_ids, recovery_point_ids, tags, tagged, made_from, made_before, fact)
    SELECT hold_id, organisation, request_id, placed_by, placed_at, state,
        configuration_ids, recovery_point_ids, tags, tagged, made_from, made_before, fact
    FROM json_populate_recordset(NULL::{retention_holds}, %s) ON CONFLICT (hold_id) DO NOTHING
"""
_AWAIT = """
    UPDATE {retention_holds} kept SET approval_id = told.approval_id, version = kept.version + told.version
    FROM json_populate_recordset(NULL::{retention_holds}, %s) told
    WHERE kept.hold_id = told.hold_id AND kept.organisation = told.organisation
"""
_RELEASE = """
    UPDATE {retention_holds} kept
    SET state = 'released', released_at = told.released_at, version = kept.version + 1
    FROM json_populate_recordset(NULL::{retention_holds}, %s) told
    WHERE kept.hold_id = told.hold_id AND kept.organisation = told.organisation AND kept.state = 'placed'
"""


class RetentionHolds(Projection):
    """Each hold: what it keeps, and whether it does. Sealed fields stay sealed."""

    NAME = "retention-holds"
    VERSION = 1
    EVENTS = (HoldPlaced, HoldReleaseAwaited, HoldReleased)
    TABLES = ("retention_holds",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._place, self._await, self._release = self.sql(_PLACE), self.sql(_AWAIT), self.sql(_RELEASE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        placed: dict[str, Row] = {}
        awaited: dict[str, Row] = {}
        times: Counter[str] = Counter()
        released: dict[str, Row] = {}
        for applied in batch.events:
            event, envelope = applied.event, applied.envelope
            if not isinstance(event, HoldFact):
                continue
            which = {"hold_id": event.hold_id, "organisation": envelope.organisation}
            match event:
                case HoldPlaced(body=body):
                    scope = body.scope
                    placed[event.hold_id] = {
                        **which,
                        "request_id": event.request_id,
                        "placed_by": envelope.actor,
                        "placed_at": envelope.time,
                        "state": "placed",
                        "configuration_ids": scope.configuration_ids,
                        "recovery_point_ids": scope.recovery_point_ids,
                        "tags": scope.tags,
                        "tagged": event.tagged,
                        "made_from": scope.made_from,
                        "made_before": scope.made_before,
                        "fact": event,
                    }
                case HoldReleaseAwaited(approval_id=approval_id):
                    times[event.hold_id] += 1
                    awaited[event.hold_id] = {**which, "approval_id": approval_id, "version": times[event.hold_id]}
                case HoldReleased():
                    released[event.hold_id] = {**which, "released_at": envelope.time}
        await upsert(database, self._place, list(placed.values()))
        await upsert(database, self._await, list(awaited.values()))
        await upsert(database, self._release, list(released.values()))
