"""The gateway's settings: what every service needs, and who may come in from where."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings

SERVICE = "gateway"


class GatewaySettings(ServiceSettings, frozen=True, kw_only=True):
    """What the gateway reads from its environment."""

    http_host: Annotated[str, Meta(description="Address that the API listens on")] = "127.0.0.1"
    http_port: Annotated[int, Meta(description="Port of the API; 0 asks the system for a free one", ge=0, le=65535)] = (
        8080
    )
    jwks_file: Annotated[
        Path | None, Meta(description="JWKS document with the identity provider's keys; this or the URL")
    ] = None
    jwks_url: Annotated[str | None, Meta(description="URL of the identity provider's JWKS document")] = None
    jwks_refresh_seconds: Annotated[float, Meta(description="How often the keys are read again", gt=0)] = 600.0
    jwks_stale_seconds_max: Annotated[
        float,
        Meta(
            description="How long the last keys are believed while no new ones can be read; after that nobody signs in",
            gt=0,
        ),
    ] = 7200.0
    jwt_issuer: Annotated[str, Meta(description="The `iss` that a token must have")]
    jwt_audience: Annotated[str, Meta(description="The `aud` that a token must have")] = "authenticated"
    jwt_organisation_claim: Annotated[
        str, Meta(description="Path of the claim with the organisation's id, steps separated by dots")
    ] = "app_metadata.organisation_id"
    jwt_roles_claim: Annotated[
        str, Meta(description="Path of the claim with the list of roles, steps separated by dots")
    ] = "app_metadata.backup_roles"
    allowed_origins: Annotated[
        tuple[str, ...], Meta(description="Origins whose pages may use the API and the WebSocket (CORS)")
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(description="Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed"),
    ] = ()
    connections_max: Annotated[int, Meta(description="Open connections of all clients of the API", ge=1)] = 2000
    connections_per_address: Annotated[
        int, Meta(description="Open connections of one address; trusted proxies have as many as they need", ge=1)
    ] = 500
    rate_per_second: Annotated[float, Meta(description="Requests per second and person in the long run", gt=0)] = 100.0
    rate_burst: Annotated[float, Meta(description="Requests of a person at once", ge=1)] = 200.0
    writes_per_second: Annotated[
        float, Meta(description="Writes per second and person in the long run: what is written stays", gt=0)
    ] = 10.0
    writes_burst: Annotated[float, Meta(description="Writes of a person at once", ge=1)] = 200.0
    organisation_writes_per_second: Annotated[
        float, Meta(description="Writes per second of all of an organisation in the long run", gt=0)
    ] = 50.0
    organisation_writes_burst: Annotated[float, Meta(description="Writes of an organisation at once", ge=1)] = 1000.0
    answer_wait_seconds: Annotated[
        float, Meta(description="How long a write waits for its answer before it is answered with 202", gt=0, le=30)
    ] = 2.5
    sockets_per_organisation: Annotated[int, Meta(description="Open WebSockets of one organisation", ge=1)] = 200
