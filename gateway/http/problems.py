"""Every error of the API as `application/problem+json` (RFC 9457).

Promise: each has a stable `code` of the catalogue, a sentence that says what is wrong, the offending `field` where
there is one, a `hint` that says what to do, and the trace id to name when asking for help. What is unexpected is
logged and answered without anything of our insides.
"""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException

from chassis.telemetry.instruments import current_trace_id
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

LOG = logging.getLogger(__name__)

_AT = re.compile(r" - at `(?:key in )?\$[^`]*`\Z")
_SENT = re.compile(r"(enum value) '.*'", re.DOTALL)
"""Where msgspec quotes what was sent: it may be anything, pasted into the wrong field."""
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "2"
"""When to come back, where nobody knows better."""
TYPE_PREFIX = "urn:wedsync-backup:problem:"

_FOR_OPERATORS = re.compile(
    r"\b(?:WEDSYNC|AWS)_[A-Z]"  # settings
    r"|\b(?:file|s3|https?|nats|postgres\w*)://"  # addresses
    r"|(?<![\w.])/(?!api/|schema\b|health/)[\w.]"  # paths, but for the API's own
)
"""What in a hint is for operators alone."""

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


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One wrong field of a request. `field` is the path of a field, query parameter or header."""

    field: str
    code: str
    detail: str
    hint: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What went wrong with a request.

    `type` is `urn:wedsync-backup:problem:` and the code. `retry` tells a machine what to do: `never` (the same
    request fails again), `later` (it may succeed), `after-operator` (somebody has to act first). `field` is the path
    of the offending field, query parameter or header; `errors` lists every one that could be told at once, and the
    first of them is the one that code, detail, field and hint are about. `context` holds ids and figures.
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
    errors: list[FieldProblem] | None = None
    trace_id: str | None = None
    context: dict[str, Any] | None = None


class WrongFields(PlatformError):
    """Several fields are wrong, each told by an error of its own; as one error it is the first of them."""

    def __init__(self, every: Sequence[PlatformError]) -> None:
        first = every[0]
        super().__init__(
            first.code, first.message, field=first.field, hint=first.hint, service=first.service, **first.context
        )
        self.every = tuple(every)


def problem_of(error: PlatformError, *, instance: str | None = None) -> Problem:
    """The body of an error, as it may be told to whoever asked.

    Where the fault is ours, the words are the catalogue's: an error's own may name a file, a host or a setting, which
    are for operators (log, internal port) alone. Those of INTERNAL are written here, in this module. What is said of
    a field of the request (a location that does not answer) names nothing but what was asked for, and the hint of
    NOT_HANDLED the request.
    """
    code, is_ours = error.told_code, error.code.status >= 500 and not isinstance(error, WrongFields)
    every = error.every if isinstance(error, WrongFields) else (error,)
    return Problem(
        type=TYPE_PREFIX + code.code,
        title=code.title,
        status=code.status,
        detail=_sentence(code) if is_ours and code is not errors.INTERNAL else error.message,
        code=code.code,
        retry=code.retry.value,
        hint=code.hint if is_ours and code is not errors.NOT_HANDLED else public_hint(code, error.hint),
        instance=instance,
        field=None if is_ours else error.field,
        errors=None if is_ours else [_field_problem(each) for each in every if each.field is not None] or None,
        trace_id=current_trace_id(),
        context=None if is_ours else {_camel(name): value for name, value in error.context.items()} or None,
    )


def public_hint(code: ErrorCode, hint: str | None) -> str:
    """A hint for people of an organisation: the catalogue's where the given one names a setting or a path."""
    return hint if hint and _FOR_OPERATORS.search(hint) is None else code.hint


def _field_problem(error: PlatformError) -> FieldProblem:
    return FieldProblem(
        field=error.field or "",
        code=error.code.code,
        detail=error.message,
        hint=public_hint(error.code, error.hint),
    )


def _sentence(code: ErrorCode) -> str:
    """A title as a message: lower case."""
    return code.title[0].lower() + code.title[1:]


def error_of_code(code: str, *, field: str | None = None, hint: str | None = None) -> PlatformError:
    """The error that a refusal's code stands for; UNKNOWN_REFUSAL where a newer build has refused."""
    entry = errors.catalogue().get(code)
    if entry is None:
        return PlatformError(
            errors.UNKNOWN_REFUSAL, "refused with a code that this build does not know", field=field, refused_with=code
        )
    return PlatformError(entry, _sentence(entry), field=field, hint=hint or None)


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
            return PlatformError(code, _sentence(code))
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
    return PlatformError(errors.INVALID_FIELD, plain(message), field=name or key or None)


def plain(message: str) -> str:
    """A library's sentence in the form of ours: lower case, no full stop, no path, and nothing of what was sent."""
    own = _SENT.sub(r"\1", _AT.sub("", message)).rstrip(".")
    return own[:1].lower() + own[1:]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
