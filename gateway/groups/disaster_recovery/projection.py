"""The read model of disaster recovery plans, each as it is in force. The dr service's stream alone changes it."""

import msgspec

from contracts.disaster import PlanBody
from contracts.dr_events import DrPlanFact
from contracts.event import pinned_kinds
from gateway.projections.applied import Database, read_view, upsert
from gateway.projections.in_force import rows_in_force
from gateway.projections.projection import Batch, Projection, Side

_STORE = """
    INSERT INTO {dr_plans} (plan_id, organisation, version, request_id, created_by, created_at, changed_at, body)
    SELECT plan_id, organisation, version, request_id, created_by, created_at, changed_at, body
    FROM json_populate_recordset(NULL::{dr_plans}, %s)
    ON CONFLICT (plan_id) DO UPDATE SET
        version = excluded.version, changed_at = excluded.changed_at, body = excluded.body
"""
_BODY = msgspec.json.Decoder(PlanBody)


class DisasterRecoveryPlans(Projection):
    """Each plan as it is in force. Sealed fields stay sealed."""

    NAME = "dr-plans"
    VERSION = 1
    EVENTS = pinned_kinds(DrPlanFact)
    TABLES = ("dr_plans",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        await upsert(database, self._store, rows_in_force(batch, DrPlanFact, "plan_id"))


def plan_body(stored: str) -> PlanBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, DisasterRecoveryPlans.NAME)
