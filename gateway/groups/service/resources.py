"""How the gateway is, for whoever asks without a token."""

from gateway.http.resources import Resource


class Liveness(Resource, frozen=True, kw_only=True):
    """How the gateway is: `live`; or `ready`, `degraded` (works, but somebody should look), `not-ready`."""

    status: str
