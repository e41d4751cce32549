"""What the routes need, in one place: filled by `gateway.bootstrap`, reached through the application's state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from litestar.connection import ASGIConnection

from chassis.clock import Clock
from chassis.locations import Locations
from chassis.postgres.pool import Pool
from chassis.sealing import Sealer
from chassis.telemetry.instruments import Telemetry
from gateway.auth.denials import DenialLog
from gateway.auth.principal import Principal
from gateway.auth.rate_limit import TokenBuckets
from gateway.auth.tokens import TokenVerifier
from gateway.monitoring.live_progress import LiveProgress
from gateway.monitoring.monitor import Monitor
from gateway.monitoring.status_board import StatusBoard
from gateway.monitoring.tickets import Tickets
from gateway.projections.applied import Database
from gateway.reading.asking import Asking
from gateway.settings import Prices
from gateway.wire.readiness import Readiness
from gateway.writes.book import RequestBook


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The parts of one gateway process."""

    pool: Pool
    clock: Clock
    sealer: Sealer
    locations: Locations
    verifier: TokenVerifier
    people: TokenBuckets
    strangers: TokenBuckets
    book: RequestBook
    status: StatusBoard
    progress: LiveProgress
    monitor: Monitor
    tickets: Tickets
    denials: DenialLog
    readiness: Readiness
    telemetry: Telemetry
    asking: Asking
    allowed_origins: tuple[str, ...] = ()
    compliance_schema: str = "compliance"
    prices: Prices | None = None

    @asynccontextmanager
    async def reading(self, organisation: str) -> AsyncIterator[Database]:
        """A connection to read the read models on, for an organisation.

        Raises TOO_MANY_REQUESTS where the organisation has as many as it may and none comes free in time, and
        UNAVAILABLE where Postgres does not answer, where the read models were never made yet, or where a view that is
        read is of a shape that this build does not know: then it is made anew.
        """
        async with self.monitor.reading(organisation) as database:
            yield database


def parts_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Gateway:
    """The parts of the gateway that a request has come to."""
    return cast("Gateway", connection.app.state["gateway"])


def principal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """The person who asks, as the authentication has found."""
    return cast("Principal", connection.scope["user"])
