"""Events for tests of the bus, and their publishing as a relay would do it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from nats.js import JetStreamContext

from contracts.config_events import ConfigurationCreated
from contracts.envelope import SOURCE_PREFIX, Envelope, decode_data, encode, encode_data, headers_of
from contracts.event import Event
from contracts.gateway_events import BackupRequested, Evidence
from contracts.samples import sample_envelopes
from contracts.subjects import event_subject

BEGIN = datetime(2026, 6, 13, 9, 30, tzinfo=UTC)
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def backup_requested(number: int = 1) -> BackupRequested:
    """A request for a backup; the number tells it from others."""
    return BackupRequested(
        request_id=f"request-{number}",
        execution_id=f"execution-{number}",
        configuration_id="configuration-1",
        configuration_version=1,
        evidence=Evidence(assurance="aal1"),
    )


def configuration_created() -> ConfigurationCreated:
    """A fact of the config service."""
    event = decode_data(sample_envelopes()[ConfigurationCreated.NAME])
    assert isinstance(event, ConfigurationCreated)
    return event


def envelope_of(event: Event, number: int = 1, *, organisation: str = "studio-a", **changes: Any) -> Envelope:
    """An envelope around an event; the number makes its id."""
    owner = event.NAME.partition(".")[0]
    fields: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"event-{owner}-{number}",
        "source": f"{SOURCE_PREFIX}{owner}",
        "type": event.NAME,
        "subject": f"thing/{number}",
        "time": BEGIN + timedelta(milliseconds=number),
        "datacontenttype": "application/json",
        "organisation": organisation,
        "actor": "user:somebody",
        "sequence": 1,
        "correlationid": f"request-{number}",
        "traceparent": TRACEPARENT,
        "data": encode_data(event),
    }
    return Envelope(**{**fields, **changes})


async def publish(js: JetStreamContext, envelope: Envelope, *, message_id: str | None = None) -> int:
    """Publish an envelope to its subject; its number in the stream."""
    headers = {**headers_of(envelope), "Nats-Msg-Id": message_id or envelope.id}
    return (await js.publish(event_subject(envelope), encode(envelope), headers=headers)).seq
