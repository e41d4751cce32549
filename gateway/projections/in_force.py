"""Things that are kept as versions, of whose facts each says all of it: what a read model keeps of them."""

from typing import Any

from contracts.event import Event
from gateway.projections.projection import Batch


def rows_in_force(batch: Batch, kind: type[Event], key: str, *also: str) -> list[dict[str, Any]]:
    """A row for each thing that facts of this kind tell of: `key`, its id's field, and what its newest fact says.

    `also`: fields of a fact that a row has besides its version, time and body.
    """
    rows: dict[str, dict[str, Any]] = {}
    for applied in batch.events:
        envelope = applied.envelope
        if not isinstance(applied.event, kind):
            continue
        event: Any = applied.event
        of = getattr(event, key)
        # Whose it is, who made it and when: of its first fact alone, here and in the table.
        row = rows.setdefault(
            of,
            {
                key: of,
                "organisation": envelope.organisation,
                "request_id": event.request_id,
                "created_by": envelope.actor,
                "created_at": envelope.time,
            },
        )
        row |= {"version": event.version, "changed_at": envelope.time, "body": event.body}
        row |= {name: getattr(event, name) for name in also}
    return list(rows.values())
