"""The ticket for the WebSocket."""

from gateway.http.fields import Timestamp
from gateway.http.resources import Resource


class Ticket(Resource, frozen=True, kw_only=True):
    """A single-use ticket for `/api/backup/monitoring?ticket=…`, for browsers, which cannot send headers there."""

    ticket: str
    expires_at: Timestamp
