"""The read model of requests: what was asked for, and what its owner answered.

The request and its answer come by different streams, in any order: each writes its own columns. Who asked, and for
what, is told by the request alone: the answer is its owner's, and one fact may answer requests of several kinds.
"""

from typing import Any

from contracts.refusal import Refusal
from gateway.projections.applied import Applied, Database, Row, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.writes.declaration import Write, declared
from gateway.writes.items import item_writes, row_of

_SUBMITTED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, actor, submitted_at)
    SELECT request_id, organisation, kind, resource_id, actor, submitted_at
    FROM json_populate_recordset(NULL::{requests}, %s)
    ON CONFLICT (request_id) DO UPDATE SET
        submitted_at = excluded.submitted_at, actor = excluded.actor, kind = excluded.kind,
        resource_id = excluded.resource_id
"""
_ANSWERED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, state, code, field, hint, wrong, answered_at)
    SELECT request_id, organisation, kind, resource_id, state, code, field, hint, wrong, answered_at
    FROM json_populate_recordset(NULL::{requests}, %s)
    ON CONFLICT (request_id) DO UPDATE SET
        state = excluded.state, code = excluded.code, field = excluded.field, hint = excluded.hint,
        wrong = excluded.wrong, answered_at = excluded.answered_at
"""

_ITEMS = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, actor, submitted_at, bulk_id, position, state,
        code, field, hint, wrong, answered_at)
    SELECT request_id, organisation, kind, resource_id, actor, submitted_at, bulk_id, position, state,
        code, field, hint, wrong, answered_at
    FROM json_populate_recordset(NULL::{requests}, %s)
    ON CONFLICT (request_id) DO UPDATE SET
        submitted_at = excluded.submitted_at, actor = excluded.actor, kind = excluded.kind,
        resource_id = excluded.resource_id, bulk_id = excluded.bulk_id, position = excluded.position
"""

_TAKE_OVER = """
    INSERT INTO requests_shadow SELECT * FROM requests WHERE state = 'pending' ON CONFLICT (request_id) DO NOTHING
"""


_BY_ITEM = item_writes()
_BY_REQUEST = {write.REQUEST: write for write in declared().values()}
_BY_ANSWER = {answer: write for write in declared().values() for answer in (write.ACCEPTED, write.REFUSED)}
"""What a fact answers, where the request itself was not seen yet: of several writes that it may be, any."""


class Requests(Projection):
    """Requests and their answers."""

    NAME = "requests"
    VERSION = 4
    EVENTS = tuple(dict.fromkeys((*_BY_REQUEST, *_BY_ITEM, *_BY_ANSWER)))
    TABLES = ("requests",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._submitted, self._answered, self._items = self.sql(_SUBMITTED), self.sql(_ANSWERED), self.sql(_ITEMS)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take requests and answers over, in the caller's transaction."""
        submitted: dict[str, Row] = {}
        answered: dict[str, Row] = {}
        items: dict[str, Row] = {}

        for applied in batch.events:
            event, envelope = applied.event, applied.envelope
            if (write := _BY_REQUEST.get(type(event))) is not None:
                row = _row(write, event, applied)
                submitted[str(row["request_id"])] = {**row, "actor": envelope.actor, "submitted_at": envelope.time}
            elif (write := _BY_ITEM.get(type(event))) is not None:
                row = row_of(write, event, envelope)
                items[str(row["request_id"])] = row
            elif (write := _BY_ANSWER.get(type(event))) is not None:
                row = _row(write, event, applied)
                said: dict[str, object] = {"state": "accepted"}
                if isinstance(event, Refusal):
                    said = {"state": "refused", "code": event.code, "field": event.field, "hint": event.hint}
                    said["wrong"] = event.wrong or None
                answered[str(row["request_id"])] = {**row, **said, "answered_at": envelope.time}
        await upsert(database, self._submitted, list(submitted.values()))
        await upsert(database, self._items, list(items.values()))
        await upsert(database, self._answered, list(answered.values()))

    async def take_over(self, database: Database) -> None:
        """Requests that were taken down and are not published yet: whoever has their address finds them."""
        await database.execute(_TAKE_OVER)


def _row(write: Write[Any], event: Any, applied: Applied) -> dict[str, object]:
    """The columns that say which request it is, and of what."""
    return {
        "request_id": event.request_id,
        "organisation": applied.envelope.organisation,
        "kind": write.NAME,
        "resource_id": getattr(event, write.OF.about),
    }
