"""How this gateway reads requests: strict bodies, known parameters.

Promise: a body is taken only as JSON of the declared shape, without coercion and without unknown fields; an unknown
query parameter is refused, since a misspelt filter would silently answer with everything.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, get_args, get_origin

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from contracts import errors
from contracts.errors import PlatformError
from contracts.reading import decoder_of
from gateway.http.bodies import UNREADABLE, invalid_body, require_names_once
from gateway.http.problems import WrongFields

BODY_BYTES_MAX = 256 * 1024
AT_ONCE_BYTES = 256 * 1024
"""What is larger is read beside the event loop."""


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON is decoded into the type that its handler declares for `data`."""

    async def json(self) -> Any:
        """The body. Raises PlatformError: media type, size, malformed, unknown field, invalid field."""
        field = self.route_handler.parsed_data_field
        kind = Any if field is None else field.annotation
        body = await self.body()
        if len(body) <= AT_ONCE_BYTES:
            return _decoded(kind, body)
        return await asyncio.to_thread(_decoded, kind, body)

    async def body(self) -> bytes:
        """The raw body, of bounded size and of the one media type that is taken: JSON, in UTF-8, not compressed."""
        media_type, options = self.content_type
        if media_type.lower() != "application/json":
            raise PlatformError(
                errors.UNSUPPORTED_MEDIA_TYPE, "the body is not announced as JSON", field="Content-Type"
            )
        if options.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
            raise PlatformError(
                errors.UNSUPPORTED_MEDIA_TYPE,
                "the body is announced in another charset than UTF-8",
                field="Content-Type",
                hint="Send the body in UTF-8, and leave the charset out.",
            )
        if self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise PlatformError(
                errors.UNSUPPORTED_MEDIA_TYPE,
                "the body is announced as compressed",
                field="Content-Encoding",
                hint="Send the body as it is, without Content-Encoding.",
            )
        try:
            body = await super().body()
        except ClientException as error:
            if error.status_code != 413:
                raise
            limit = self.route_handler.resolve_request_max_body_size()
            raise PlatformError(errors.BODY_TOO_LARGE, "the body is too large", limit_bytes=limit) from error
        if not body:
            raise PlatformError(errors.MALFORMED_BODY, "the body is empty")
        return body


def _decoded(kind: Any, body: bytes) -> Any:
    try:
        decoded = decoder_of(kind).decode(body)
        require_names_once(body)
    except UNREADABLE as error:
        raise invalid_body(body, kind, error) from error
    return decoded


def only_known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard: refuse query parameters that the route does not have, that say nothing, or that are given twice.

    What would be read as something else is refused, too: `null` as no filter at all, `1` as true, a number as a time.
    """
    # A WebSocket looks at its own address, to refuse it by a problem before it is opened.
    if connection.scope.get("query_string") and connection.scope["type"] == ScopeType.HTTP:
        known = handler.opt.get("query_forms")
        if known is None:
            known = handler.opt["query_forms"] = _query_forms(handler)
        check_query(connection, known)


class QueryForm(msgspec.Struct, frozen=True):
    """How the value of a query parameter is written, and whether several may be given."""

    pattern: re.Pattern[str] | None = None
    hint: str = ""
    is_list: bool = False


def check_query(connection: ASGIConnection[Any, Any, Any, Any], known: Mapping[str, QueryForm]) -> None:
    """Raise what is wrong with the query of a request, all of it at once."""
    values: dict[str, list[str]] = {}
    for name, value in connection.query_params.items():
        values.setdefault(name, []).append(value)
    wrong = [error for name, given in values.items() if (error := _wrong(name, given, known.get(name))) is not None]
    if wrong:
        raise WrongFields(wrong)


def _wrong(name: str, values: Sequence[str], form: QueryForm | None) -> PlatformError | None:
    if form is None:
        return PlatformError(
            errors.UNKNOWN_FIELD,
            "the query parameter is not known",
            field=name[:100],
            hint="Remove the parameter, or correct its spelling; /schema lists them.",
        )
    if len(values) > 1 and not form.is_list:
        return PlatformError(
            errors.INVALID_FIELD, "the query parameter is given more than once", field=name, hint="Send it once."
        )
    for value in values:
        if value in ("", "null"):
            return PlatformError(
                errors.INVALID_FIELD,
                "the query parameter has no value",
                field=name,
                hint="Give it a value, or leave it out.",
            )
        if form.pattern is not None and not form.pattern.fullmatch(value):
            return PlatformError(
                errors.INVALID_FIELD, "the query parameter is not written as it has to be", field=name, hint=form.hint
            )
    return None


_FORMS: dict[Any, QueryForm] = {
    bool: QueryForm(re.compile("true|false"), "Write true or false."),
    int: QueryForm(re.compile("-?[0-9]{1,9}"), "Write a whole number."),
    datetime: QueryForm(
        re.compile(
            r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
        ),
        "Write it as 2026-11-24T10:00:00Z.",
    ),
}


def _query_forms(handler: BaseRouteHandler) -> dict[str, QueryForm]:
    return {
        field.kwarg_definition.name or name: _form(field)
        for name, field in handler.parsed_fn_signature.parameters.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }


def _form(field: FieldDefinition) -> QueryForm:
    kinds = {part for part in get_args(field.annotation) if part is not type(None)} or {field.annotation}
    if any(get_origin(kind) is list for kind in kinds):
        return QueryForm(is_list=True)
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), QueryForm())


def client_address(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Where a request comes from, for rate limits alone: of IPv6 the network, since one client has all of it."""
    return network_of(connection.client.host) if connection.client else "unknown"


def network_of(host: str) -> str:
    """An IPv4 address as it is, the /64 network of an IPv6 address."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, 64), strict=False))
