"""The read model of retention policies: each as it is in force. Only the config service's stream changes this table."""

from typing import Any

import msgspec

from contracts.config_events import RetentionPolicyFact
from contracts.event import pinned_kinds
from contracts.retention import RetentionPolicyBody
from gateway.projections.applied import Database, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side

_STORE = """
    INSERT INTO {retention_policies} (
        retention_policy_id, organisation, version, request_id, created_by, created_at, changed_at, body)
    SELECT retention_policy_id, organisation, version, request_id, created_by, created_at, changed_at, body
    FROM json_populate_recordset(NULL::{retention_policies}, %s)
    ON CONFLICT (retention_policy_id) DO UPDATE SET
        version = excluded.version, changed_at = excluded.changed_at, body = excluded.body
"""
_BODY = msgspec.json.Decoder(RetentionPolicyBody)


class RetentionPolicies(Projection):
    """Each retention policy as it is in force. Sealed fields stay sealed."""

    NAME = "retention-policies"
    VERSION = 1
    EVENTS = pinned_kinds(RetentionPolicyFact)
    TABLES = ("retention_policies",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        rows: dict[str, dict[str, Any]] = {}
        for applied in batch.events:
            event, envelope = applied.event, applied.envelope
            if not isinstance(event, RetentionPolicyFact):
                continue
            # Whose it is, who made it and when: of its first fact alone, here and in the table.
            row = rows.setdefault(
                event.retention_policy_id,
                {
                    "retention_policy_id": event.retention_policy_id,
                    "organisation": envelope.organisation,
                    "request_id": event.request_id,
                    "created_by": envelope.actor,
                    "created_at": envelope.time,
                },
            )
            row |= {"version": event.version, "changed_at": envelope.time, "body": event.body}
        await upsert(database, self._store, list(rows.values()))


def policy_body(stored: str) -> RetentionPolicyBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, RetentionPolicies.NAME)
