"""What each operation takes and gives, by the name of its handler: bodies, answers, errors, examples."""

from typing import Any

import msgspec

from contracts import errors
from contracts.errors import ErrorCode
from gateway.groups.configurations.templates import Template
from gateway.openapi import examples
from gateway.runs.resources import (
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

ETAG = {"ETag": "Version of the resource"}
LOCATION = {"Location": "Where the result is"}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One successful response."""

    status: int
    description: str
    body: Any = None
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


def taken_down(**of_request: WriteRequest) -> Answer:
    """The one 202 that every write may answer with."""
    return Answer(
        status=202,
        description="In the record. `state` says whether it is accepted; Location is where the answer is or will be",
        body=WriteRequest,
        examples=dict(of_request),
        headers={"Location": "Where the request is", "Retry-After": "When to ask there, where it is pending"},
    )


_PAGE = Answer(
    status=200,
    description="A page for people",
    body=str,
    examples={"begin": "<!doctype html>"},
    media_type="text/html",
)
_DOCUMENT = Answer(status=200, description="OpenAPI 3.1", body=dict[str, Any], examples={"begin": {"openapi": "3.1.0"}})

OPERATIONS: dict[str, Operation] = {
    "create_configuration": Operation(
        group="Configurations",
        body=NewConfiguration,
        body_examples={"photos": examples.NEW_CONFIGURATION},
        answers=(
            Answer(
                status=201,
                description="Created",
                body=Configuration,
                examples={"created": examples.CONFIGURATION},
                headers={**LOCATION, **ETAG},
            ),
            taken_down(pending=examples.PENDING_CONFIGURATION),
        ),
        errors=(
            errors.CONFIGURATION_NAME_TAKEN,
            errors.UNKNOWN_LOCATION,
            errors.LOCATION_KIND_MISMATCH,
            errors.NO_DESTINATION,
            errors.DESTINATION_TWICE,
            errors.DESTINATION_IS_SOURCE,
            errors.LOCK_NOT_SUPPORTED,
            errors.PATH_OUTSIDE_LOCATION,
            errors.LOCATIONS_UNREADABLE,
            errors.CONCURRENT_CHANGE,
            errors.KEYS_UNUSABLE,
            errors.NO_SPACE,
        ),
    ),
    "list_configurations": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="A page",
                body=ListPage[Configuration],
                examples={"one": examples.CONFIGURATIONS},
            ),
        ),
        errors=(errors.INVALID_CURSOR, errors.KEYS_UNUSABLE),
    ),
    "list_templates": Operation(
        group="Configurations",
        answers=(
            Answer(
                status=200,
                description="The templates",
                body=ListPage[Template],
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
                body=Configuration,
                examples={"healthy": examples.CONFIGURATION},
                headers=ETAG,
            ),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.KEYS_UNUSABLE),
    ),
    "execute_backup": Operation(
        group="Executions",
        body=NewExecution,
        body_examples={"now": examples.NEW_EXECUTION},
        answers=(taken_down(accepted=examples.ACCEPTED_REQUEST, pending=examples.PENDING_REQUEST),),
        errors=(
            errors.CONFIGURATION_UNKNOWN,
            errors.CONFIGURATION_NOT_SEEN_YET,
            errors.RUN_ALREADY_OPEN,
            errors.QUEUE_FULL,
            errors.CONCURRENT_CHANGE,
        ),
    ),
    "list_executions": Operation(
        group="Executions",
        answers=(
            Answer(status=200, description="A page", body=ListPage[Execution], examples={"one": examples.EXECUTIONS}),
        ),
        errors=(errors.CONFIGURATION_UNKNOWN, errors.INVALID_CURSOR),
    ),
    "show_execution": Operation(
        group="Executions",
        answers=(
            Answer(
                status=200,
                description="The run",
                body=Execution,
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
            Answer(status=200, description="The progress", body=ProgressView, examples={"running": examples.PROGRESS}),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "show_status": Operation(
        group="Status",
        answers=(Answer(status=200, description="The status", body=Status, examples={"running": examples.STATUS}),),
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
    "show_request": Operation(
        group="Requests",
        answers=(
            Answer(
                status=200,
                description="The request",
                body=WriteRequest,
                examples={
                    "accepted": examples.ACCEPTED_REQUEST,
                    "pending": examples.PENDING_REQUEST,
                    "refused": examples.REFUSED_REQUEST,
                },
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
                body=ListPage[LocationView],
                examples={"embedded": examples.LOCATIONS},
            ),
        ),
        errors=(errors.LOCATIONS_UNREADABLE,),
    ),
    "give_ticket": Operation(
        group="Monitoring",
        answers=(Answer(status=201, description="A ticket", body=Ticket, examples={"ticket": examples.TICKET}),),
    ),
    "live": Operation(
        group="Health",
        answers=(Answer(status=200, description="Alive", body=Liveness, examples={"live": examples.LIVE}),),
    ),
    "ready": Operation(
        group="Health",
        answers=(
            Answer(status=200, description="Ready", body=Liveness, examples={"ready": examples.READY}),
            Answer(
                status=503,
                description="Not ready",
                body=Liveness,
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
                body=str,
                examples={"begin": "asyncapi: 3.0.0"},
                media_type="application/yaml",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "schema_page": Operation(group="Documents", answers=(_PAGE,)),
    "schema_document": Operation(group="Documents", answers=(_DOCUMENT,)),
}
