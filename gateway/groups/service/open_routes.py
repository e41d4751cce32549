"""What is open without a token: whether the gateway lives and can work, and its descriptions."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, get

from chassis.life.health import NOT_READY
from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.guards import OPEN
from gateway.groups.service.resources import Liveness
from gateway.openapi import document as openapi
from gateway.openapi.page import render
from gateway.parts import parts_of

ASYNCAPI_FILE = Path(__file__).parents[3] / "contracts" / "asyncapi.yaml"


@get("/health/live", opt=OPEN, summary="Alive", sync_to_thread=False)
def live() -> Liveness:
    """The process answers."""
    return Liveness(status="live")


@get("/health/ready", opt=OPEN, summary="Ready to work")
async def ready(request: Request[Any, Any, Any]) -> Response[Liveness]:
    """200 where every part can do its work, else 503. Which part cannot is told on the internal port alone."""
    status = await parts_of(request).readiness.status()
    return Response(Liveness(status=status), status_code=503 if status == NOT_READY else 200)


@get(
    "/asyncapi",
    opt=OPEN,
    summary="AsyncAPI document",
    media_type="application/yaml",
    sync_to_thread=False,
)
def asyncapi() -> Response[str]:
    """Events and subjects, for services that subscribe to them."""
    return Response(_asyncapi(), media_type="application/yaml")


@lru_cache(maxsize=1)
def _asyncapi() -> str:
    try:
        return ASYNCAPI_FILE.read_text(encoding="utf-8")
    except OSError as error:
        raise PlatformError(errors.NOT_FOUND, "this build has no AsyncAPI document") from error


PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


@get("/schema", opt=OPEN, summary="The API as a page", sync_to_thread=False)
def schema_page(request: Request[Any, Any, Any]) -> Response[str]:
    """Every operation with its parameters, bodies, errors and examples. Needs neither scripts nor a network."""
    return Response(_page(request.app), media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@get("/schema/openapi.json", opt=OPEN, summary="The API as OpenAPI", sync_to_thread=False)
def schema_document(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    """The OpenAPI 3.1 document, for tools."""
    content: Any = _document(request.app)
    return Response(content, media_type="application/json")


@lru_cache(maxsize=1)
def _page(app: Litestar) -> str:
    return render(openapi.document(app))


@lru_cache(maxsize=1)
def _document(app: Litestar) -> bytes:
    return openapi.encoded(app)


HANDLERS = [live, ready, asyncapi, schema_page, schema_document]
