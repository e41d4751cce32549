"""What a stream has stored, as a reader sees it, and where a reader stands in it."""

import hashlib
from datetime import datetime

import msgspec

from chassis.bus.nats_client import Headers, RawHeaders, headers_named
from chassis.outbox.chained import LOG_HEADER, MESSAGE_ID_HEADER, POSITION_HEADER
from chassis.outbox.continuity import message_id

LAST_ID_HEADER = "Nats-Expected-Last-Msg-Id"
LAST_SEQUENCE_HEADER = "Nats-Expected-Last-Sequence"
SEQUENCE_HEADER = "Nats-Sequence"
STORED_AT_HEADER = "Nats-Time-Stamp"
DIGEST_LENGTH = 32
_ASKED = headers_named(
    SEQUENCE_HEADER,
    STORED_AT_HEADER,
    LOG_HEADER,
    POSITION_HEADER,
    MESSAGE_ID_HEADER,
    LAST_ID_HEADER,
    LAST_SEQUENCE_HEADER,
)


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a reader stands: the log, the notification id of the last applied event, its sequence in the stream.

    `sequence` is only a hint: it changes when a stream is filled anew. `digest` is that of the event's bytes; empty
    where an earlier build has applied it.
    """

    log: str
    position: int
    sequence: int
    digest: str = ""

    def is_at(self, other: "Place") -> bool:
        """Whether both stand behind the same position of the same log, whatever the stream holds there."""
        return (self.log, self.position) == (other.log, other.position)

    def differs_from(self, other: "Place") -> bool:
        """Whether both are at the same position of what calls itself the same log, and not behind the same event."""
        return self.is_at(other) and bool(self.digest and other.digest) and self.digest != other.digest


START = Place("", 0, 0)


class StoredMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a stream. `log` is empty where no relay has published it (a stray).

    `before`: the id of the message that it follows; None where it begins or goes on behind whatever was there.
    `stored_at`: when the server took it, as it writes that; empty where it does not say.
    """

    sequence: int
    body: bytes
    log: str = ""
    position: int = 0
    before: str | None = None
    stored_at: str = ""

    @property
    def arrived(self) -> datetime | None:
        """When the server took it."""
        return datetime.fromisoformat(self.stored_at) if self.stored_at else None

    @property
    def place(self) -> Place:
        """Where it stands."""
        digest = hashlib.sha256(self.body).hexdigest()[:DIGEST_LENGTH]
        return Place(self.log, self.position, self.sequence, digest)


def position_of(headers: Headers) -> int:
    """The position that a message's headers name; 0 where they name none."""
    text = headers.get(POSITION_HEADER) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def stored_message(headers: Headers, body: bytes) -> StoredMessage:
    """A message as the stream has stored it. A relay names itself, its place and what comes before; nobody else does.

    The server lets a message in under such a name only where it is true, so that no single header is believed alone.
    """
    if isinstance(headers, RawHeaders):
        headers = headers.among(_ASKED)
    sequence, log, position = int(headers.get(SEQUENCE_HEADER) or ""), headers.get(LOG_HEADER), position_of(headers)
    before, behind = headers.get(LAST_ID_HEADER), headers.get(LAST_SEQUENCE_HEADER)
    is_chained = before is not None or behind is not None
    if not log or not position or not is_chained or headers.get(MESSAGE_ID_HEADER) != message_id(log, position):
        return StoredMessage(sequence, body)
    return StoredMessage(sequence, body, log, position, before, headers.get(STORED_AT_HEADER) or "")
