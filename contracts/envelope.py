"""The envelope: one CloudEvents 1.0 event in structured JSON, stored and published byte for byte.

What the event store keeps is exactly what JetStream carries and what the audit trail holds, so the
three are one history. The NATS headers are derived from the envelope (`headers_of`) and are only a
convenience for filters: where they differ from the body, the body is right.

Extension attributes (CloudEvents allows lower-case letters and digits only): `organisation`,
`actor`, `correlationid` (the request that began it all), `causationid` (the event that led to this
one), `traceparent` (W3C Trace Context), `sequence` (the version of the aggregate, counted from 1).
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from contracts.event import Event, event_class
from contracts.reading import UNKNOWN, decoder_of, is_in_calendar, read_json, require_in_calendar

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
SOURCE_PREFIX = "/wedsync-backup/"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """One event with the circumstances in which it came to be."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    datacontenttype: Literal["application/json"]
    organisation: str
    actor: str
    sequence: int
    correlationid: str
    causationid: str | None = None
    traceparent: str | None = None
    data: msgspec.Raw

    @property
    def owner(self) -> str:
        """The service whose record this event belongs to."""
        return self.source.removeprefix(SOURCE_PREFIX)


class UnknownEventType(ValueError):
    """The name is not pinned in this build: the event comes from a newer one."""


class MalformedEvent(ValueError):
    """The bytes are no envelope, or the data does not fit the pinned type."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)
_KNOWN = frozenset(field.name for field in msgspec.structs.fields(Envelope))
_UNKNOWN = f'"{UNKNOWN}"'.encode()
_ATTRIBUTES = msgspec.json.Decoder(dict[str, msgspec.Raw])


def encode(envelope: Envelope) -> bytes:
    """The bytes that are stored and published."""
    return _ENCODER.encode(envelope)


def encode_data(event: Event) -> msgspec.Raw:
    """An event's own fields as JSON, ready for an envelope's `data`.

    Raises `MalformedEvent` where it repeats a member of an enum that this build has met as `unknown`: what is
    published is what its type says.
    """
    data = _ENCODER.encode(event)
    if _UNKNOWN in data:
        try:
            decoder_of(type(event)).decode(data)
        except msgspec.ValidationError as error:
            raise MalformedEvent(f"{event.NAME} is not published: {error}") from error
    return msgspec.Raw(data)


def decode(body: bytes) -> Envelope:
    """Read an envelope; attributes that this build does not know are left out. Raises `MalformedEvent`."""
    try:
        return _in_the_calendar(_DECODER.decode(body))
    except msgspec.ValidationError:
        return _in_the_calendar(_decode_known(body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedEvent(f"not an envelope: {error}") from error


def _in_the_calendar(envelope: Envelope) -> Envelope:
    """Refuse a time that is none in UTC: whoever has written it down could never read it again."""
    if not is_in_calendar(envelope.time):
        raise MalformedEvent("its time lies at an end of the calendar")
    return envelope


def _decode_known(body: bytes) -> Envelope:
    try:
        attributes = _ATTRIBUTES.decode(body)
        return _DECODER.decode(_ENCODER.encode({name: raw for name, raw in attributes.items() if name in _KNOWN}))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedEvent(f"not an envelope: {error}") from error


def decode_data(envelope: Envelope) -> Event:
    """Read the event that an envelope carries, as far as this build knows its fields (`contracts.reading`).

    Raises `UnknownEventType` or `MalformedEvent`. Whoever acts on events reads them by `chassis.upcasting`.
    """
    cls = event_class(envelope.type)
    if cls is None:
        raise UnknownEventType(envelope.type)
    try:
        event = read_json(envelope.data, decoder_of(cls))
        require_in_calendar(event, cls)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedEvent(f"{envelope.type}: {error}") from error
    return event


def headers_of(envelope: Envelope) -> dict[str, str]:
    """The NATS headers of an envelope: CloudEvents attributes with the prefix `ce-`."""
    headers = {
        "content-type": CONTENT_TYPE,
        "ce-specversion": envelope.specversion,
        "ce-id": envelope.id,
        "ce-source": envelope.source,
        "ce-type": envelope.type,
        "ce-subject": envelope.subject,
        "ce-time": msgspec.to_builtins(envelope.time),
        "ce-organisation": envelope.organisation,
        "ce-sequence": str(envelope.sequence),
        "ce-correlationid": envelope.correlationid,
    }
    if envelope.causationid is not None:
        headers["ce-causationid"] = envelope.causationid
    if envelope.traceparent is not None:
        headers["traceparent"] = envelope.traceparent
    return headers
