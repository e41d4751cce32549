"""The API's own description: as a page and as OpenAPI 3.1."""

from functools import lru_cache
from typing import Any

from litestar import Response, get

from gateway.auth.guards import OPEN
from gateway.openapi import document as openapi
from gateway.openapi.page import render

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@get("/schema", opt=OPEN, summary="The API as a page", sync_to_thread=False)
def schema_page() -> Response[str]:
    """Every operation with its parameters, bodies, errors and examples. Needs neither scripts nor a network."""
    return Response(_page(), media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": PAGE_POLICY})


@get("/schema/openapi.json", opt=OPEN, summary="The API as OpenAPI", sync_to_thread=False)
def schema_document() -> Response[dict[str, Any]]:
    """The OpenAPI 3.1 document, for tools."""
    content: Any = _document()
    return Response(content, media_type="application/json")


@lru_cache(maxsize=1)
def _page() -> str:
    return render(openapi.document())


@lru_cache(maxsize=1)
def _document() -> bytes:
    return openapi.encoded()
