"""Whether a stream continues a log: the relay's judgement, pure.

A stream that is gone, empty, shorter than what was published, with holes, of another log or ahead of this one
is never filled by surprise. A permission to refill allows three things: an empty stream is filled from the
beginning, a short one from its end (both under the message ids that were there before), and behind the messages
of another log a log that was never published is published whole. Where the stream holds what this log does not, has
holes that cannot be filled in order, or has another log behind this one, only a new incarnation of the log helps: then
the second identity of an event is no duplicate of the first.
"""

import msgspec

from contracts.errors import STREAM_MISSING, STREAM_OF_ANOTHER_LOG, PlatformError

_RENEW = "Run wedsync-backup refill SERVICE --new-incarnation: the record is published again behind what is there."


def message_id(incarnation: str, notification_id: int) -> str:
    """The `Nats-Msg-Id` of an event."""
    return f"{incarnation}:{notification_id}"


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The last message of a stream. `incarnation` and `position` are None where it is no relay's."""

    sequence: int
    message_id: str | None = None
    incarnation: str | None = None
    position: int | None = None
    body: bytes = b""

    @property
    def name(self) -> str:
        """What it is remembered by."""
        return self.message_id or f"sequence {self.sequence}"


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """A stream as the server shows it. `lost`: messages missing between the first and the last."""

    first_sequence: int
    last_sequence: int
    lost: int
    tail: Tail | None


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """The log as it is. `last`: its last notification id. `has_tail`: it holds the stream's tail, byte for byte."""

    incarnation: str
    last: int
    has_tail: bool


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What the record remembers of its publishing: by which incarnation, up to where, into what stream.

    `foreign_tail` names the last message of another log, behind which this one was allowed to begin.
    `first_sequence` and `lost` are those of the stream when it was last joined.
    """

    incarnation: str | None = None
    high_water: int = 0
    foreign_tail: str | None = None
    first_sequence: int = 1
    lost: int = 0


def position_in(log: LogView, published: Published, stream: StreamView, *, may_refill: bool) -> tuple[int, Published]:
    """Behind which notification id to go on, and what to remember before the first publish.

    Raises STREAM_MISSING or STREAM_OF_ANOTHER_LOG.
    """
    known = published.incarnation == log.incarnation
    tail = stream.tail
    if tail is None:
        if not (published.incarnation is None or (known and published.high_water == 0) or may_refill):
            raise PlatformError(
                STREAM_MISSING, "the stream is empty, but events were published", published=published.high_water
            )
        return 0, Published(incarnation=log.incarnation, first_sequence=stream.last_sequence + 1)
    if tail.incarnation != log.incarnation or tail.position is None:
        if known and published.foreign_tail == tail.name:
            return 0, published
        if not may_refill:
            raise PlatformError(
                STREAM_OF_ANOTHER_LOG, "the stream's last message is not of this log", last_sequence=tail.sequence
            )
        if known and published.high_water > 0:
            # The stream may hold this log further than the record: an identity would be used twice for two events.
            raise PlatformError(
                STREAM_OF_ANOTHER_LOG,
                "the stream's last message is not of this log, which was published into it before",
                hint=_RENEW,
                last_sequence=tail.sequence,
            )
        return 0, Published(
            incarnation=log.incarnation,
            foreign_tail=tail.name,
            first_sequence=stream.first_sequence,
            lost=stream.lost,
        )
    _check_own(log, published if known else None, stream, tail.position)
    if known and tail.position >= published.high_water:
        return tail.position, published
    if known and not may_refill:
        raise PlatformError(
            STREAM_MISSING,
            "the stream ends before what was published",
            position=tail.position,
            published=published.high_water,
        )
    return tail.position, Published(
        incarnation=log.incarnation,
        high_water=tail.position,
        foreign_tail=published.foreign_tail if known else None,
        first_sequence=stream.first_sequence,
        lost=stream.lost,
    )


def _check_own(log: LogView, published: Published | None, stream: StreamView, position: int) -> None:
    if position > log.last or not log.has_tail:
        raise PlatformError(
            STREAM_OF_ANOTHER_LOG,
            "the stream holds events that the record does not: either the record was restored to an earlier point,"
            " or somebody else publishes under the service's key",
            hint=f"Look first which (docs/operations.md, section 3). {_RENEW}",
            position=position,
            last=log.last,
        )
    if published is not None and (stream.lost > published.lost or stream.first_sequence != published.first_sequence):
        raise PlatformError(
            STREAM_MISSING,
            "messages inside the stream are lost",
            hint=_RENEW,
            lost=stream.lost,
            first_sequence=stream.first_sequence,
        )
