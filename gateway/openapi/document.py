"""The OpenAPI 3.1 document: made from the routes, the types of the bodies, the error catalogue and the examples.

`python -m gateway openapi` writes docs/openapi.json, `--check` fails where the file is not what the code says.
Schemas are msgspec's own, so that the document promises exactly what is decoded and encoded.
"""

import inspect
import re
import sys
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition

from contracts import errors
from contracts.errors import ErrorCode
from gateway import found
from gateway.auth.guards import RIGHT
from gateway.auth.rights import roles_with
from gateway.http.problems import MEDIA_TYPE, Problem, error_of_code, problem_of
from gateway.openapi.operation import Operation

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
VERSION = "1.0.0"
REFERENCE = "#/components/schemas/{name}"
EXAMPLE_TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

_INFO = {
    "title": "WedSync Backup",
    "version": VERSION,
    "description": (
        "Encrypted, deduplicated, four-tier backups for wedding suppliers. JSON in camelCase, times RFC 3339 in UTC, "
        "sizes in bytes. Errors are application/problem+json with a stable `code`, the offending `field` and a `hint`. "
        "A write becomes a request event and is answered by its owner; where the answer takes longer, 202 points to "
        "it. Every read and write is within the caller's organisation. HEAD is answered wherever GET is, without a "
        "body. The WebSocket `/api/backup/monitoring` is described in docs/api.md."
    ),
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_ALWAYS = (
    errors.UNAUTHENTICATED,
    errors.FORBIDDEN,
    errors.MALFORMED_REQUEST,
    errors.REQUEST_TIMED_OUT,
    errors.PATH_TOO_LONG,
    errors.TOO_MANY_REQUESTS,
    errors.HEAD_TOO_LARGE,
    # A query parameter that the route has not, or that is given twice, is refused everywhere.
    errors.INVALID_FIELD,
    errors.UNKNOWN_FIELD,
    errors.INTERNAL,
    errors.UNAVAILABLE,
    errors.IDENTITY_PROVIDER_UNAVAILABLE,
)
_OF_BODIES = (
    errors.MALFORMED_BODY,
    errors.BODY_TOO_LARGE,
    errors.UNSUPPORTED_MEDIA_TYPE,
)
_OF_STATUS = {
    401: {"WWW-Authenticate": "How to sign in"},
    429: {"Retry-After": "Seconds until the next request may succeed"},
    503: {"Retry-After": "Seconds until the next request may succeed"},
}
"""The headers that a problem has by its status."""
_ETAG = {"ETag": "Of all that is shown; of what is changed by `If-Match`, with its version"}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "An `ETag`; 304 where it is still the same",
    "schema": {"type": "string"},
}
"""Whatever is read: `gateway.wire.sparing`."""
_OF_WRITES = (errors.IDEMPOTENCY_KEY_MISSING, errors.IDEMPOTENCY_KEY_REUSED, errors.UNKNOWN_REFUSAL, errors.NOT_HANDLED)


@lru_cache(maxsize=1)
def document(app: Litestar) -> dict[str, Any]:
    """The whole document of an application, as plain JSON values."""
    types: list[Any] = [Problem]
    for operation in operations().values():
        types += [operation.body] if operation.body is not None else []
        types += [answer.body for answer in operation.answers if answer.body is not None]
    for _, handler in _handlers(app):
        types += [_plain_type(field) for field in _parameter_fields(handler).values()]
    _, components = msgspec.json.schema_components(types, ref_template=REFERENCE)
    paths: dict[str, dict[str, Any]] = {}
    for route, handler in _handlers(app):
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for method in sorted(handler.http_methods):
            paths.setdefault(path, {})[method.lower()] = _operation(handler)
    described = {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        # Litestar's order of methods is not the same each time.
        "paths": {path: dict(sorted(operations.items())) for path, operations in sorted(paths.items())},
        "components": {
            "schemas": tidied(dict(sorted(components.items()))),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": (
                        "A token of the identity provider (ES256, RS256 or EdDSA). Organisation and roles are read "
                        "from `app_metadata`."
                    ),
                }
            },
        },
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(described))
    return plain


@lru_cache(maxsize=1)
def operations() -> dict[str, Operation]:
    """Every operation by the name of its handler."""
    return {name: each for room in found.modules("operations") for name, each in room.OPERATIONS.items()}


def encoded(app: Litestar) -> bytes:
    """The document as it is committed: indented, with a line break at the end."""
    return msgspec.json.format(msgspec.json.encode(document(app)), indent=2) + b"\n"


def tidied(value: Any) -> Any:
    """Docstrings without the indentation of the source, which differs between versions of Python."""
    if isinstance(value, dict):
        return {
            key: inspect.cleandoc(item) if key == "description" and isinstance(item, str) else tidied(item)
            for key, item in value.items()
        }
    return [tidied(item) for item in value] if isinstance(value, list) else value


def _handlers(app: Litestar) -> list[tuple[HTTPRoute, HTTPRouteHandler]]:
    return [
        (route, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.handler_name in operations()
    ]


def _operation(handler: HTTPRouteHandler) -> dict[str, Any]:
    operation = operations()[handler.handler_name]
    roles = roles_with(handler.opt[RIGHT]) if RIGHT in handler.opt else []
    description = inspect.cleandoc(handler.fn.__doc__ or "")
    described: dict[str, Any] = {
        "operationId": _operation_id(handler.handler_name),
        "summary": handler.summary,
        "description": f"{description}\n\nRoles: {', '.join(roles)}." if roles else description,
        "tags": [operation.group],
        "security": [{"bearer": []}] if roles else [],
    }
    is_read = bool(roles) and "GET" in handler.http_methods
    parameters = [*_parameters(handler), *([_IF_NONE_MATCH] if is_read else [])]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _schema(operation.body), "examples": _named(operation.body_examples)}
            },
        }
    answers = _answers(operation)
    if is_read:
        answers["200"]["headers"] = {**answers["200"].get("headers", {}), **_headers(_ETAG)}
        answers["304"] = {"description": "It is still what the `ETag` is of", "headers": _headers(_ETAG)}
    described["responses"] = {**answers, **_problems(operation, bool(roles))}
    return described


def _operation_id(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _answers(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for answer in operation.answers:
        response: dict[str, Any] = {"description": answer.description}
        if answer.headers:
            response["headers"] = _headers(answer.headers)
        if answer.body is not None:
            content = {"schema": _schema(answer.body), "examples": _named(answer.examples)}
            response["content"] = {answer.media_type: content}
        responses[str(answer.status)] = response
    return responses


def _headers(described: dict[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}


def _problems(operation: Operation, is_guarded: bool) -> dict[str, Any]:
    codes: list[ErrorCode] = [*operation.errors]
    if is_guarded:
        codes += _ALWAYS
        codes += _OF_BODIES if operation.body is not None else ()
        codes += _OF_WRITES if operation.is_write else ()
    by_status: dict[int, list[ErrorCode]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(code.status, []).append(code)
    return {
        str(status): {
            "description": "; ".join(code.title for code in entries),
            **({"headers": _headers(_OF_STATUS[status])} if status in _OF_STATUS else {}),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": REFERENCE.format(name="Problem")},
                    "examples": {
                        code.code: {"summary": code.title, "value": _problem_example(code)} for code in entries
                    },
                }
            },
        }
        for status, entries in sorted(by_status.items())
    }


def _problem_example(code: ErrorCode) -> Any:
    problem = problem_of(error_of_code(code.code), instance="/api/backup/…")
    return msgspec.structs.replace(problem, trace_id=EXAMPLE_TRACE_ID)


def _named(examples: dict[str, Any]) -> dict[str, Any]:
    return {name: {"value": value} for name, value in examples.items()}


def _schema(body: Any) -> dict[str, Any]:
    (schema,), _ = msgspec.json.schema_components([body], ref_template=REFERENCE)
    return schema


def _parameter_fields(handler: HTTPRouteHandler) -> dict[str, FieldDefinition]:
    return {
        name: field
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter | HeaderParameter | PathParameter)
    }


def _parameters(handler: HTTPRouteHandler) -> list[dict[str, Any]]:
    described = []
    for name, field in _parameter_fields(handler).items():
        definition: Any = field.kwarg_definition
        place = definition.param_type.value
        described.append(
            {
                "name": definition.name or name,
                "in": place,
                "required": place == "path" or definition.name in {"Idempotency-Key", "If-Match"},
                "description": definition.description,
                "schema": _parameter_schema(field, definition),
            }
        )
    return described


def _parameter_schema(field: FieldDefinition, definition: Any) -> dict[str, Any]:
    plain = _plain_type(field)
    schema = _schema(plain)
    if plain is datetime:
        schema["format"] = "date-time"
    for name, keyword in (("ge", "minimum"), ("le", "maximum"), ("max_length", "maxLength")):
        if (bound := getattr(definition, name, None)) is not None:
            schema[keyword] = int(bound)
    if field.has_default and field.default is not None:
        schema["default"] = field.default
    return schema


def _plain_type(field: FieldDefinition) -> Any:
    """The type of a parameter that is there: without `None`, which says that it may be left out."""
    wanted = [part for part in get_args(field.annotation) if part is not type(None)] if field.is_optional else []
    return wanted[0] if len(wanted) == 1 else field.annotation


def write(app: Litestar, *, check: bool) -> int:
    """Write the document, or compare it with the file; the exit code."""
    if check:
        if FILE.exists() and FILE.read_bytes() == encoded(app):
            return 0
        sys.stderr.write(f"{FILE} is not what the code says: run python -m gateway openapi\n")
        return 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_bytes(encoded(app))
    return 0
