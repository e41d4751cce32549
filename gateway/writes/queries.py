"""Requests as resources: what a 202 points to."""

from contracts import errors
from contracts.errors import PlatformError
from gateway.http.problems import problem_of
from gateway.projections.applied import Database
from gateway.runs import queries as executions
from gateway.writes.declaration import API_PREFIX, declared
from gateway.writes.items import results
from gateway.writes.refused import Refused
from gateway.writes.resources import RequestState, WriteRequest
from gateway.writes.things import RUN

_ONE = """
    SELECT request_id, kind, resource_id, actor, submitted_at, state, code, field, hint, wrong::text, answered_at
    FROM requests WHERE organisation = %s AND request_id = %s
"""


async def one(database: Database, organisation: str, request_id: str) -> WriteRequest:
    """A request. Raises NOT_FOUND, also where it is another organisation's."""
    row = await (await database.execute(_ONE, (organisation, request_id))).fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such request")
    number, kind, resource_id, actor, submitted_at, state, code, field, hint, wrong, answered_at = row
    write = declared().get(kind)
    is_run = write is not None and write.OF is RUN and state == RequestState.ACCEPTED
    items = None if write is None or write.ITEMS is None else await results(database, organisation, number)
    return WriteRequest(
        id=number,
        kind=kind,
        state=RequestState(state),
        resource=resource_path(kind, number, resource_id, RequestState(state)),
        submitted_by=actor,
        submitted_at=submitted_at or answered_at,
        answered_at=answered_at,
        problem=problem_of(Refused.read(code, field, hint, wrong).error()) if code is not None else None,
        execution=await executions.find(database, organisation, resource_id) if is_run else None,
        items=items,
        refused_items=None if items is None else len([each for each in items if each.state is RequestState.REFUSED]),
    )


def resource_path(kind: str, request_id: str, resource_id: str, state: RequestState) -> str | None:
    """Where the result of a request is found; where a newer build knows the kind, the request itself.

    None while it would find nothing: what a request makes is there once that was accepted, what it removes until then.
    """
    write = declared().get(kind)
    if write is None:
        return f"{API_PREFIX}/requests/{request_id}"
    is_there = not write.REMOVES if state is RequestState.ACCEPTED else write.is_targeted and not write.MAKES
    return write.resource_path(resource_id) if is_there else None
