"""What becomes of a message of a stream: an entry of the audit log, whatever it is."""

from datetime import UTC, datetime

from chassis.auditlog.tree import leaf_hash
from contracts.envelope import MalformedEvent, decode
from services.compliance.domain import UNREADABLE, Entry
from services.compliance.policies import access_of

_NOBODY_KNOWS_WHEN = datetime.fromtimestamp(0, UTC)


def entry_of(service: str, log: str, position: int, body: bytes, arrived: datetime | None) -> Entry:
    """An event as an entry. What is no envelope is an entry of the platform's log all the same."""
    leaf = leaf_hash(body)
    try:
        envelope = decode(body)
    except MalformedEvent:
        return Entry(
            service=service,
            log=log,
            position=position,
            organisation="",
            event_id="",
            type=UNREADABLE,
            happened_at=arrived or _NOBODY_KNOWS_WHEN,
            actor="",
            access=None,
            leaf=leaf,
            body=body,
        )
    return Entry(
        service=service,
        log=log,
        position=position,
        organisation=envelope.organisation,
        event_id=envelope.id,
        type=envelope.type,
        happened_at=envelope.time,
        actor=envelope.actor,
        access=access_of(envelope.type),
        leaf=leaf,
        body=body,
    )
