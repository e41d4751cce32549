"""What each operation takes and gives, by the name of its handler: bodies, answers, errors, examples."""

from typing import Any

import msgspec

from contracts import errors
from contracts.errors import ErrorCode
from gateway import examples
from gateway.resources import (
    Configuration,
    Execution,
    ListPage,
    Liveness,
    LocationView,
    NewConfiguration,
    NewExecution,
    ProgressView,
    Status,
    Ticket,
    WriteRequest,
)
from gateway.templates import Template

ETAG = {"ETag": "Version of the resource"}
LOCATION = {"Location": "Where the result is"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful response; `types` are the alternatives of its body."""

    status: int
    description: str
    types: tuple[Any, ...] = ()
    examples: dict[str, Any] = {}
    headers: dict[str, str] = {}
    media_type: str = "application/json"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation. `errors`: those of its own, beside the ones that all have."""

    group: str
    answers: tuple[Answer, ...]
    body: Any = None
    body_examples: dict[str, Any] = {}
    errors: tuple[ErrorCode, ...] = ()


_PENDING = {"pending": examples.PENDING_REQUEST}

_PAGE = Answer(
    status=200,
    description="A page for people",
    types=(str,),
    examples={"begin": "<!doctype html>"},
    media_type="text/html",
)
_DOCUMENT = Answer(
    status=200, description="OpenAPI 3.1", types=(dict[str, Any],), examples={"begin": {"openapi": "3.1.0"}}
)

OPERATIONS: dict[str, Operation] = {
    "create_configuration": Operation(
        group="Configurations",
        body=NewConfiguration,
        body_examples={"photos": examples.NEW_CONFIGURATION},
        answers=(
            Answer(
                status=201,
                description="Created",
                types=(Configuration,),
                examples={"created": examples.CONFIGURATION},
                headers={**LOCATION, **ETAG},
            ),
            Answer(
                status=202,
                description="In the record, not answered yet; Location is where the answer will be",
                types=(WriteRequest,),
                examples=_PENDING,
                headers=LOCATION,
            ),
        ),
        errors=(
            errors.CONFIGURATION_NAME_TAKEN,
            errors.UNKNOWN_LOCATION,
            errors.LOCATION_KIND_MISMATCH,
            errors.NO_DESTINATION,
            errors.PATH_OUTSIDE_LOCATION,
        ),
    ),
    "list_configurations": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="A page",
                types=(ListPage[Configuration],),
                examples={"one": examples.CONFIGURATIONS},
            ),
        ),
    ),
    "list_templates": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The templates",
                types=(ListPage[Template],),
                examples={"all": examples.TEMPLATE_LIST},
            ),
        ),
    ),
    "show_configuration": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The configuration",
                types=(Configuration,),
                examples={"healthy": examples.CONFIGURATION},
                headers=ETAG,
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN,),
    ),
    "execute_backup": Operation(
        group="Executions",
        body=NewExecution,
        body_examples={"now": examples.NEW_EXECUTION},
        answers=(
            Answer(
                status=202,
                description="Accepted (an execution), or in the record and not answered yet (a request)",
                types=(Execution, WriteRequest),
                examples={"accepted": examples.ACCEPTED, **_PENDING},
                headers=LOCATION,
            ),
        ),
        errors=(
            errors.CONFIGURATION_UNKNOWN,
            errors.CONFIGURATION_NOT_SEEN_YET,
            errors.RUN_ALREADY_OPEN,
            errors.QUEUE_FULL,
        ),
    ),
    "list_executions": Operation(
        group="Executions",
        answers=(
            Answer(
                status=200, description="A page", types=(ListPage[Execution],), examples={"one": examples.EXECUTIONS}
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN,),
    ),
    "show_execution": Operation(
        group="Executions",
        answers=(
            Answer(
                status=200,
                description="The run",
                types=(Execution,),
                examples={"completed": examples.COMPLETED, "accepted": examples.ACCEPTED},
                headers=ETAG,
            ),
            Answer(status=304, description="Not changed since", headers=ETAG),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_progress": Operation(
        group="Executions",
        answers=(
            Answer(
                status=200, description="The progress", types=(ProgressView,), examples={"running": examples.PROGRESS}
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_status": Operation(
        group="Status",
        answers=(Answer(status=200, description="The status", types=(Status,), examples={"running": examples.STATUS}),),
    ),
    "show_request": Operation(
        group="Requests",
        answers=(
            Answer(
                status=200,
                description="The request",
                types=(WriteRequest,),
                examples={**_PENDING, "refused": examples.REFUSED_REQUEST},
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "list_locations": Operation(
        group="Locations",
        answers=(
            Answer(
                status=200,
                description="The locations",
                types=(ListPage[LocationView],),
                examples={"embedded": examples.LOCATIONS},
            ),
        ),
    ),
    "give_ticket": Operation(
        group="Monitoring",
        answers=(Answer(status=201, description="A ticket", types=(Ticket,), examples={"ticket": examples.TICKET}),),
    ),
    "live": Operation(
        group="Health",
        answers=(Answer(status=200, description="Alive", types=(Liveness,), examples={"live": examples.LIVE}),),
    ),
    "ready": Operation(
        group="Health",
        answers=(
            Answer(status=200, description="Ready", types=(Liveness,), examples={"ready": examples.READY}),
            Answer(
                status=503,
                description="Not ready",
                types=(Liveness,),
                examples={"not-ready": Liveness(status="not-ready")},
            ),
        ),
    ),
    "asyncapi": Operation(
        group="Documents",
        answers=(
            Answer(
                status=200,
                description="AsyncAPI 3.0",
                types=(str,),
                examples={"begin": "asyncapi: 3.0.0"},
                media_type="application/yaml",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "schema_page": Operation(group="Documents", answers=(_PAGE,)),
    "schema_document": Operation(group="Documents", answers=(_DOCUMENT,)),
}
