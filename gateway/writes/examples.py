"""Examples of writes that were taken down."""

import msgspec

from contracts import errors
from gateway.http.problems import error_of_code, problem_of
from gateway.runs.examples import ACCEPTED, ACTOR, BEGAN, EXECUTION_ID, REQUEST_ID, at
from gateway.writes.resources import RequestState, WriteRequest

PENDING = WriteRequest(
    id=REQUEST_ID,
    kind="execute-backup",
    state=RequestState.PENDING,
    resource=None,
    submitted_by=ACTOR,
    submitted_at=BEGAN,
)

ACCEPTED_REQUEST = msgspec.structs.replace(
    PENDING,
    state=RequestState.ACCEPTED,
    resource=f"/api/backup/executions/{EXECUTION_ID}",
    answered_at=at(0.02),
    execution=ACCEPTED,
)

REFUSED_REQUEST = msgspec.structs.replace(
    PENDING,
    kind="create-configuration",
    state=RequestState.REFUSED,
    answered_at=at(0.25),
    problem=problem_of(error_of_code(errors.CONFIGURATION_NAME_TAKEN.code, field="name")),
)
