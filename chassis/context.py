"""In whose name, and because of what, something is recorded. Pure."""

from datetime import datetime

import msgspec

from contracts import errors
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.identifiers import ORGANISATION, ORGANISATION_RULE


class Context(msgspec.Struct, frozen=True):
    """The circumstances that an envelope keeps beside the event.

    `actor`: who is answerable, such as `user:<subject>` or `service:executor`; an id, never a name or an
    address. `correlation_id`: the request that began it all. `causation_id`: the event that led to this one.
    `traceparent`: W3C Trace Context. `time`: when it was, where that is told elsewhere, too; else when it is recorded.
    Raises INVALID_FIELD where `organisation` cannot be part of a subject.
    """

    organisation: str
    actor: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None
    time: datetime | None = None

    def __post_init__(self) -> None:
        if not ORGANISATION.fullmatch(self.organisation):
            raise PlatformError(
                errors.INVALID_FIELD,
                f"an organisation's id {ORGANISATION_RULE}",
                field="organisation",
            )

    @classmethod
    def caused_by(cls, envelope: Envelope, *, actor: str | None = None, traceparent: str | None = None) -> "Context":
        """The context of what follows from an event: same organisation and correlation, the event as its cause.

        `actor` and `traceparent` are the event's where they are not given.
        """
        return cls(
            organisation=envelope.organisation,
            actor=envelope.actor if actor is None else actor,
            correlation_id=envelope.correlationid,
            causation_id=envelope.id,
            traceparent=envelope.traceparent if traceparent is None else traceparent,
        )
