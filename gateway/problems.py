"""Every error of the API as `application/problem+json` (RFC 9457).

Promise: each has a stable `code` of the catalogue, a sentence that says what is wrong, the offending `field` where
there is one, a `hint` that says what to do, and the trace id to name when asking for help. What is unexpected is
logged and answered without anything of our insides.
"""

import logging
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from chassis.logging import describe
from chassis.telemetry import current_trace_id
from contracts import errors
from contracts.errors import PlatformError

LOG = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "2"
"""When to come back, where nobody knows better."""
TYPE_PREFIX = "urn:wedsync-backup:problem:"

_BY_STATUS = {
    entry.status: entry
    for entry in (
        errors.UNAUTHENTICATED,
        errors.FORBIDDEN,
        errors.NOT_FOUND,
        errors.METHOD_NOT_ALLOWED,
        errors.BODY_TOO_LARGE,
        errors.UNSUPPORTED_MEDIA_TYPE,
        errors.TOO_MANY_REQUESTS,
        errors.UNAVAILABLE,
    )
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What went wrong with a request.

    `type` is `urn:wedsync-backup:problem:` and the code. `retry` tells a machine what to do: `never` (the same
    request fails again), `later` (it may succeed), `after-operator` (somebody has to act first). `field` is the path
    of the offending field, query parameter or header. `context` holds ids and figures.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retry: str
    hint: str
    instance: str | None = None
    field: str | None = None
    trace_id: str | None = None
    context: dict[str, Any] | None = None


def problem_of(error: PlatformError, *, instance: str | None = None) -> Problem:
    """The body of an error. The context is told to whoever caused the error, never where the fault is ours."""
    code = error.code
    return Problem(
        type=TYPE_PREFIX + code.code,
        title=code.title,
        status=code.status,
        detail=error.message,
        code=code.code,
        retry=code.retry.value,
        hint=error.hint,
        instance=instance,
        field=error.field,
        trace_id=current_trace_id(),
        context={_camel(name): value for name, value in error.context.items()} or None if code.status < 500 else None,
    )


def error_of_code(code: str, *, field: str | None = None, hint: str | None = None) -> PlatformError:
    """The error that a refusal's code stands for; `internal` where a newer build refused with a code unknown here."""
    entry = errors.catalogue().get(code)
    if entry is None:
        return PlatformError(
            errors.INTERNAL, f"refused with the code {code}, which this build does not know", hint=hint
        )
    return PlatformError(entry, entry.title[0].lower() + entry.title[1:], field=field, hint=hint or None)


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to any exception that a request ends with."""
    platform_error = _as_platform_error(request, error)
    code = platform_error.code
    if code.status >= 500:
        # An unexpected error may quote rows or paths: `describe` writes its text only where it is ours.
        LOG.error("request failed", extra={"code": code.code, "cause": describe(error.__cause__ or error)})
    headers = {**headers_of(platform_error), **_allowed(error)}
    return Response(
        msgspec.json.encode(problem_of(platform_error, instance=request.scope["path"])),
        status_code=code.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


def headers_of(error: PlatformError) -> dict[str, str]:
    """The headers that go with an error, whoever answers: how to sign in, when to come back."""
    code = error.code
    if code.status == 401:
        return {"WWW-Authenticate": 'Bearer realm="wedsync-backup", error="invalid_token"'}
    wait = error.context.get("retry_after_seconds")
    if isinstance(wait, int | float):
        return {"Retry-After": str(max(1, math.ceil(wait)))}
    return {"Retry-After": RETRY_SECONDS} if code.status in (429, 503) else {}


def _allowed(error: Exception) -> Mapping[str, str]:
    """The methods that a path has, where it has not the one that was asked for."""
    if not isinstance(error, HTTPException) or error.status_code != 405:
        return {}
    allowed = (error.headers or {}).get("allow", "")
    return {"Allow": ", ".join(sorted(part.strip() for part in allowed.split(",") if part.strip()))}


def _as_platform_error(request: Request[Any, Any, Any], error: Exception) -> PlatformError:
    match error:
        case PlatformError():
            return error
        case ValidationException():
            return _invalid_parameter(request, error)
        case HTTPException(status_code=400):
            return PlatformError(errors.MALFORMED_BODY, "the request cannot be read")
        case HTTPException(status_code=status) if status in _BY_STATUS:
            code = _BY_STATUS[status]
            return PlatformError(code, code.title[0].lower() + code.title[1:])
        case _:
            return PlatformError(errors.INTERNAL, "something unexpected happened")


def _invalid_parameter(request: Request[Any, Any, Any], error: ValidationException) -> PlatformError:
    """What Litestar says about a query parameter or a header, told by its name in the request."""
    first = error.extra[0] if isinstance(error.extra, list) and error.extra else {}
    key, message = str(first.get("key", "")).partition(".")[0], first.get("message")
    if not isinstance(message, str):
        return PlatformError(errors.INVALID_FIELD, "a parameter is missing or not valid")
    field = request.route_handler.parsed_fn_signature.parameters.get(key)
    name = getattr(field.kwarg_definition, "name", None) if field is not None else None
    return PlatformError(errors.INVALID_FIELD, _plain(message), field=name or key or None)


_AT = re.compile(r" - at `(?P<in>key in )?\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
FIELD_LENGTH_MAX = 200
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what was asked for."""


def invalid_body(error: msgspec.MsgspecError | UnicodeDecodeError | RecursionError) -> PlatformError:
    """What msgspec says about a body, as an error that names the field by its JSON path."""
    if isinstance(error, RecursionError):
        return PlatformError(errors.MALFORMED_BODY, "the body is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return PlatformError(errors.MALFORMED_BODY, "the body is not valid JSON")
    text = str(error)
    place = _AT.search(text)
    path = place.group("path").lstrip(".") if place else ""
    message = text[: place.start()] if place else text
    if unknown := _UNKNOWN.match(message):
        name = unknown.group("name")[:FIELD_LENGTH_MAX]
        return PlatformError(
            errors.UNKNOWN_FIELD, "the body has a field that is not known", field=f"{path}.{name}" if path else name
        )
    return PlatformError(errors.INVALID_FIELD, _plain(message), field=path or None)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _plain(message: str) -> str:
    """A library's sentence in the form of ours: lower case, no full stop, no path."""
    plain = _AT.sub("", message).rstrip(".")
    return plain[:1].lower() + plain[1:]
