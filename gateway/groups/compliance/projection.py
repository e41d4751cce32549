"""The read model of audits."""

import msgspec

from contracts.compliance_events import ComplianceAudited
from contracts.reading import written_as
from gateway.projections.applied import Database, Row, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side

_KEEP = """
    INSERT INTO {compliance_audits} (audit_id, organisation, request_id, audited_at, frameworks, fact)
    SELECT audit_id, organisation, request_id, audited_at, frameworks, fact
    FROM json_populate_recordset(NULL::{compliance_audits}, %s) ON CONFLICT (audit_id) DO NOTHING
"""


class ComplianceAudits(Projection):
    """Each audit, as it was told: an audit is over when it is told, and never changes."""

    NAME = "compliance-audits"
    VERSION = 1
    EVENTS = (ComplianceAudited,)
    TABLES = ("compliance_audits",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._keep = self.sql(_KEEP)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take audits over, in the caller's transaction."""
        rows: dict[str, Row] = {
            applied.event.audit_id: {
                "audit_id": applied.event.audit_id,
                "organisation": applied.envelope.organisation,
                "request_id": applied.event.request_id,
                "audited_at": applied.envelope.time,
                "frameworks": [written_as(each) for each in applied.event.frameworks],
                "fact": applied.event,
            }
            for applied in batch.events
            if isinstance(applied.event, ComplianceAudited)
        }
        await upsert(database, self._keep, list(rows.values()))


_FACT = msgspec.json.Decoder(ComplianceAudited)


def audited(stored: str) -> ComplianceAudited:
    """What is stored of an audit. Raises ViewUnreadable."""
    return read_view(stored, _FACT, ComplianceAudits.NAME)
