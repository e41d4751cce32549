"""The read model of configurations: each as it is in force. Only the config service's stream changes this table."""

import msgspec

from contracts.config_events import ConfigurationFact
from contracts.configuration import ConfigurationBody
from contracts.event import pinned_kinds
from contracts.reading import written_as
from gateway.projections.applied import Database, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side

_STORE = """
    INSERT INTO {configurations} (configuration_id, organisation, version, is_wedding_critical, request_id, created_by,
                                created_at, state, body)
    SELECT configuration_id, organisation, version, is_wedding_critical, request_id, created_by, created_at, state, body
    FROM json_populate_recordset(NULL::{configurations}, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET
        version = excluded.version, is_wedding_critical = excluded.is_wedding_critical, body = excluded.body,
        state = excluded.state
"""


_BODY = msgspec.json.Decoder(ConfigurationBody)


class Configurations(Projection):
    """Each configuration as it is in force."""

    NAME = "configurations"
    VERSION = 4
    EVENTS = pinned_kinds(ConfigurationFact)
    TABLES = ("configurations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_STORE)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction. Sealed fields stay sealed."""
        rows: dict[str, dict[str, object]] = {}
        for applied in batch.events:
            if not isinstance(event := applied.event, ConfigurationFact):
                continue
            # Whose it is, who made it and when: of its first fact alone, here and in the table.
            row = rows.setdefault(
                event.configuration_id,
                {
                    "configuration_id": event.configuration_id,
                    "organisation": applied.envelope.organisation,
                    "request_id": event.request_id,
                    "created_by": applied.envelope.actor,
                    "created_at": applied.envelope.time,
                },
            )
            row |= {
                "version": event.version,
                "is_wedding_critical": event.body.is_wedding_critical,
                "state": written_as(event.state),
                "body": event.body,
            }
        await upsert(database, self._store, list(rows.values()))


def configuration_body(stored: str) -> ConfigurationBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, Configurations.NAME)
