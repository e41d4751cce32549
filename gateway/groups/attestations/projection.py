"""The read model of attestations."""

import msgspec

from contracts.compliance_events import AttestationRecorded
from contracts.reading import written_as
from gateway.projections.applied import Database, Row, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side

_KEEP = """
    INSERT INTO {compliance_attestations} (attestation_id, organisation, request_id, kind, recorded_at, fact)
    SELECT attestation_id, organisation, request_id, kind, recorded_at, fact
    FROM json_populate_recordset(NULL::{compliance_attestations}, %s) ON CONFLICT (attestation_id) DO NOTHING
"""


class Attestations(Projection):
    """Each attestation, as it was told: it never changes. Sealed texts stay sealed."""

    NAME = "compliance-attestations"
    VERSION = 1
    EVENTS = (AttestationRecorded,)
    TABLES = ("compliance_attestations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._keep = self.sql(_KEEP)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take attestations over, in the caller's transaction."""
        rows: dict[str, Row] = {
            applied.event.attestation_id: {
                "attestation_id": applied.event.attestation_id,
                "organisation": applied.envelope.organisation,
                "request_id": applied.event.request_id,
                "kind": written_as(applied.event.kind),
                "recorded_at": applied.envelope.time,
                "fact": applied.event,
            }
            for applied in batch.events
            if isinstance(applied.event, AttestationRecorded)
        }
        await upsert(database, self._keep, list(rows.values()))


_FACT = msgspec.json.Decoder(AttestationRecorded)


def recorded(stored: str) -> AttestationRecorded:
    """What is stored of an attestation. Raises ViewUnreadable."""
    return read_view(stored, _FACT, Attestations.NAME)
