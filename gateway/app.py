"""The application: routes behind their layers. Everything that it needs is given; nothing is opened here."""

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp

from gateway import found
from gateway.auth.guards import Authentication
from gateway.endpoints.declared import handler_of
from gateway.http import problems
from gateway.http.web import BODY_BYTES_MAX, StrictRequest, only_known_parameters
from gateway.parts import Gateway
from gateway.wire.faults import faults_told
from gateway.wire.handshake import refusals_told
from gateway.wire.outermost import HttpMetrics, observed
from gateway.wire.sparing import spared
from gateway.writes.declaration import API_PREFIX, declared


def create_app(gateway: Gateway) -> ASGIApp:
    """The ASGI application of a gateway, with traces, metrics, safe headers and what spares answers around it."""
    litestar = build(gateway)
    return observed(spared(faults_told(refusals_told(litestar))), gateway.telemetry, HttpMetrics(gateway.telemetry))


def build(gateway: Gateway | None) -> Litestar:
    """The application itself. Without parts it only describes itself, for the OpenAPI document."""
    api = Router(
        API_PREFIX,
        route_handlers=[
            *(handler for group in found.modules("routes") for handler in group.HANDLERS),
            *(handler_of(write) for write in declared().values()),
        ],
        guards=[only_known_parameters],
    )
    layers = []
    if gateway is not None:
        layers.append(
            DefineMiddleware(
                Authentication, verifier=gateway.verifier, people=gateway.people, strangers=gateway.strangers
            )
        )
    origins = list(gateway.allowed_origins) if gateway is not None else []
    return Litestar(
        route_handlers=[api, *(handler for group in found.modules("open_routes") for handler in group.HANDLERS)],
        middleware=layers,
        exception_handlers={Exception: problems.respond},
        request_class=StrictRequest,
        request_max_body_size=BODY_BYTES_MAX,
        cors_config=_cors(origins),
        openapi_config=None,
        state=State({"gateway": gateway}),
        debug=False,
        logging_config=None,
    )


def _cors(origins: list[str]) -> CORSConfig | None:
    if not origins:
        return None
    return CORSConfig(
        allow_origins=origins,
        allow_methods=["GET", "HEAD", *sorted({write.METHOD for write in declared().values()})],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "traceparent"],
        expose_headers=[
            "ETag",
            "Location",
            "Retry-After",
            "X-Trace-Id",
            "RateLimit-Limit",
            "RateLimit-Remaining",
            "RateLimit-Reset",
        ],
        max_age=600,
    )
