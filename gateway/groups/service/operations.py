"""What each operation of the group takes and gives, by the name of its handler."""

from typing import Any

from contracts import errors
from gateway.groups.service.examples import LIVE, READY
from gateway.groups.service.resources import Liveness
from gateway.openapi.operation import Answer, Operation

_PAGE = Answer(
    status=200,
    description="A page for people",
    body=str,
    examples={"begin": "<!doctype html>"},
    media_type="text/html",
)
_DOCUMENT = Answer(status=200, description="OpenAPI 3.1", body=dict[str, Any], examples={"begin": {"openapi": "3.1.0"}})


OPERATIONS = {
    "live": Operation(
        group="Health",
        answers=(Answer(status=200, description="Alive", body=Liveness, examples={"live": LIVE}),),
    ),
    "ready": Operation(
        group="Health",
        answers=(
            Answer(status=200, description="Ready", body=Liveness, examples={"ready": READY}),
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
                body=dict[str, Any],
                examples={"begin": {"asyncapi": "3.0.0"}},
                media_type="application/yaml",
            ),
        ),
        errors=(errors.NOT_FOUND,),
    ),
    "schema_page": Operation(group="Documents", answers=(_PAGE,)),
    "schema_document": Operation(group="Documents", answers=(_DOCUMENT,)),
}
