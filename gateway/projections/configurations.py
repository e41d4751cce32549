"""The read model of configurations: each as it is in force. Only the config service's stream changes this table."""

from collections.abc import Sequence

import msgspec

from contracts.config_events import ConfigurationCreated
from gateway.projections.applied import Applied, Database, upsert

EVENTS = (ConfigurationCreated,)

_STORE = """
    INSERT INTO configurations (configuration_id, organisation, version, is_wedding_critical, request_id, created_by,
                                created_at, body)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET
        version = excluded.version, is_wedding_critical = excluded.is_wedding_critical, body = excluded.body
"""


async def project(database: Database, events: Sequence[Applied]) -> None:
    """Take facts over, in the caller's transaction. Sealed fields stay sealed."""
    rows: list[tuple[object, ...]] = [
        (
            event.configuration_id,
            applied.envelope.organisation,
            event.version,
            event.body.is_wedding_critical,
            event.request_id,
            applied.envelope.actor,
            applied.envelope.time,
            msgspec.json.encode(event.body).decode(),
        )
        for applied in events
        if isinstance(event := applied.event, ConfigurationCreated)
    ]
    await upsert(database, _STORE, rows)
