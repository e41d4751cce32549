"""Single-use tickets for the WebSocket: browsers cannot send an Authorization header there.

Promise: a ticket lets its holder in once, within half a minute, as the person whom it was given to and for no longer
than that person's token lasts. Only its hash is stored, in Postgres, so that any gateway takes it. Who makes tickets up
takes two connections to Postgres at most, and makes nobody wait but those who come with a ticket at that moment.
"""

import asyncio
import hashlib
import re
import secrets
from datetime import timedelta

import msgspec

from chassis.clock import Clock
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from contracts.reading import read_plain
from gateway.auth.principal import Principal
from gateway.auth.rights import Role
from gateway.auth.tokens import refused
from gateway.monitoring.resources import Ticket
from gateway.reading.shares import SharedConnections

LIFETIME = timedelta(seconds=30)
TAKEN_AT_ONCE = 2
_BYTES = 32
_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")

_GIVE = "INSERT INTO monitoring_tickets (digest, principal, expires_at) VALUES (%s, %s, %s)"
_TAKE = "DELETE FROM monitoring_tickets WHERE digest = %s RETURNING principal, expires_at"
_FORGET = "DELETE FROM monitoring_tickets WHERE expires_at < %s"


class Tickets:
    """Gives tickets and takes them."""

    def __init__(self, pool: Pool, connections: SharedConnections, clock: Clock) -> None:
        self._pool = pool
        self._connections = connections
        self._clock = clock
        self._taking = asyncio.Semaphore(TAKEN_AT_ONCE)

    async def give(self, principal: Principal) -> Ticket:
        """A new ticket for a person."""
        ticket = secrets.token_urlsafe(_BYTES)
        now = self._clock.now()
        # Not by a date of the token's end: it may lie behind the last year that there are dates of.
        expires_at = now + min(LIFETIME, timedelta(seconds=min(principal.expires_at - now.timestamp(), 86_400.0)))
        with translated():
            async with self._connections.of(principal.organisation) as connection:
                await connection.execute(_GIVE, (_digest(ticket), msgspec.json.encode(principal), expires_at))
        return Ticket(ticket=ticket, expires_at=expires_at)

    async def take(self, ticket: str) -> Principal:
        """The person whom a ticket was given to. Raises UNAUTHENTICATED where it was used, is too old or unknown."""
        if not _TICKET.fullmatch(ticket):
            raise refused("the ticket is not valid any longer")
        with translated():
            async with self._taking, self._pool.connection() as connection:
                row = await (await connection.execute(_TAKE, (_digest(ticket),))).fetchone()
        if row is None or row[1] <= self._clock.now():
            raise refused("the ticket is not valid any longer")
        return _principal(row[0])

    async def forget_old(self) -> None:
        """Let go of tickets that nobody has used."""
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(_FORGET, (self._clock.now(),))


def _principal(stored: bytes) -> Principal:
    """Whom a gateway of any version has written down. A role that this one does not know opens nothing here."""
    told = msgspec.json.decode(stored)
    known = {role.value for role in Role}
    try:
        return read_plain({**told, "roles": [role for role in told["roles"] if role in known]}, Principal)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise refused("the ticket is of a gateway of another version") from error


def _digest(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
