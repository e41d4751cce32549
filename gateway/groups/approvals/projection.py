"""The read model of approvals. The executor's stream alone changes it."""

from contracts.approval_events import (
    ApprovalAsked,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalFact,
    ApprovalGranted,
    ApprovalState,
)
from contracts.reading import written_as
from gateway.projections.applied import Database, Row, upsert
from gateway.projections.projection import Batch, Projection, Side

_ASK = """
    INSERT INTO {approvals} (approval_id, organisation, state, operation, subject_id, asked_by, asked_at, expires_at)
    SELECT approval_id, organisation, state, operation, subject_id, asked_by, asked_at, expires_at
    FROM json_populate_recordset(NULL::{approvals}, %s) ON CONFLICT (approval_id) DO NOTHING
"""
_END = """
    UPDATE {approvals} kept SET state = told.state, decided_by = told.decided_by, decided_at = told.decided_at
    FROM json_populate_recordset(NULL::{approvals}, %s) told
    WHERE kept.approval_id = told.approval_id AND kept.organisation = told.organisation AND kept.state = 'open'
"""


class Approvals(Projection):
    """Each approval: what is asked for by whom, until when, and what became of it."""

    NAME = "approvals"
    VERSION = 1
    EVENTS = (ApprovalAsked, ApprovalGranted, ApprovalDenied, ApprovalExpired)
    TABLES = ("approvals",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._ask, self._end = self.sql(_ASK), self.sql(_END)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        asked: dict[str, Row] = {}
        ended: dict[str, Row] = {}
        for applied in batch.events:
            event, envelope = applied.event, applied.envelope
            if not isinstance(event, ApprovalFact):
                continue
            which: dict[str, object] = {"approval_id": event.approval_id, "organisation": envelope.organisation}
            decided: dict[str, object] = {**which, "decided_at": envelope.time}
            match event:
                case ApprovalAsked():
                    asked[event.approval_id] = {
                        **which,
                        "state": ApprovalState.OPEN.value,
                        "operation": written_as(event.operation),
                        "subject_id": event.subject_id,
                        "asked_by": event.asked_by,
                        "asked_at": envelope.time,
                        "expires_at": event.expires_at,
                    }
                case ApprovalGranted(granted_by=who):
                    state = ApprovalState.GRANTED.value
                    ended[event.approval_id] = {**decided, "state": state, "decided_by": who}
                case ApprovalDenied(denied_by=who):
                    state = ApprovalState.DENIED.value
                    ended[event.approval_id] = {**decided, "state": state, "decided_by": who}
                case ApprovalExpired():
                    ended[event.approval_id] = {**decided, "state": ApprovalState.EXPIRED.value}
        await upsert(database, self._ask, list(asked.values()))
        await upsert(database, self._end, list(ended.values()))
