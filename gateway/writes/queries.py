"""Requests as resources: what a 202 points to."""

from contracts import errors
from contracts.errors import PlatformError
from gateway.http.problems import error_of_code, problem_of
from gateway.projections.applied import Database
from gateway.runs import queries as executions
from gateway.writes.projection import EXECUTE_BACKUP
from gateway.writes.resources import RequestState, WriteRequest

_ONE = """
    SELECT request_id, kind, resource_id, actor, submitted_at, state, code, field, hint, answered_at
    FROM requests WHERE organisation = %s AND request_id = %s
"""


async def one(database: Database, organisation: str, request_id: str) -> WriteRequest:
    """A request. Raises NOT_FOUND, also where it is another organisation's."""
    row = await (await database.execute(_ONE, (organisation, request_id))).fetchone()
    if row is None:
        raise PlatformError(errors.NOT_FOUND, "there is no such request")
    number, kind, resource_id, actor, submitted_at, state, code, field, hint, answered_at = row
    is_run = kind == EXECUTE_BACKUP and state == RequestState.ACCEPTED
    return WriteRequest(
        id=number,
        kind=kind,
        state=RequestState(state),
        resource=resource_path(kind, resource_id),
        submitted_by=actor,
        submitted_at=submitted_at or answered_at,
        answered_at=answered_at,
        problem=problem_of(error_of_code(code, field=field, hint=hint)) if code is not None else None,
        execution=await executions.find(database, organisation, resource_id) if is_run else None,
    )


def resource_path(kind: str, resource_id: str) -> str:
    """Where the result of a request is found."""
    group = "executions" if kind == EXECUTE_BACKUP else "configurations"
    return f"/api/backup/{group}/{resource_id}"
