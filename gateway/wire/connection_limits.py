"""How many connections there may be and what one may cost: the limits, the count, and the look at all of them.

Promise: connections are bounded in all and for each address; where all are taken, the one that has been idle longest
makes room for a new one. One task looks at all of them twice a second, so that none keeps a timer of its own.
"""

import asyncio
from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Protocol

import msgspec

from chassis.life.tasks import Supervised
from contracts import errors
from contracts.errors import PlatformError
from gateway.http.web import BODY_BYTES_MAX, network_of

LOOK_SECONDS = 0.5
REFUSED_AT_ONCE_MAX = 64
"""How many more connections there may be while they are being told that there are too many."""
FULL_RETRY_SECONDS = 5


class Watched(Protocol):
    """A connection. `waiting_since`: since when it has had no request under way; None where it has one."""

    transport: asyncio.Transport

    @property
    def waiting_since(self) -> float | None:
        """Seconds of the loop's clock."""

    def judge(self, now: float) -> None:
        """Cut off what has taken too long."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes, lines and seconds of a connection; `connections` in all, `per_address` of one client.

    `head_seconds`: from the first byte of a request to the last of its headers; also how long a new connection may say
    nothing. `message_bytes`: a request with everything around its body. `linger_seconds`: how long what a client goes
    on sending is thrown away, so that it can read why it was refused.
    """

    connections: int = 2_000
    per_address: int = 500
    head_bytes: int = 32 * 1024
    head_lines: int = 100
    path_bytes: int = 8 * 1024
    message_bytes: int = 4 * BODY_BYTES_MAX
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    answer_seconds: float = 30.0
    linger_seconds: float = 2.0


class Connections:
    """All connections of one server, by the transport that HTTP and WebSocket share."""

    def __init__(self, limits: Limits, trusted_proxies: tuple[str, ...] = ()) -> None:
        self.limits = limits
        self.refused = 0
        self._proxies = networks_of(trusted_proxies)
        self._addresses: dict[asyncio.BaseTransport, str] = {}
        self._counts: Counter[str] = Counter()
        self._open: dict[asyncio.BaseTransport, Watched] = {}
        self.loop = Supervised("http-limits", self._look, every_seconds=LOOK_SECONDS)

    def __len__(self) -> int:
        return len(self._addresses)

    def enter(self, connection: Watched) -> None:
        """Count a new connection. Raises UNAVAILABLE or TOO_MANY_REQUESTS where it is one too many."""
        transport = connection.transport
        host = str((transport.get_extra_info("peername") or ("",))[0])
        address = network_of(host)
        self._addresses[transport] = address
        self._counts[address] += 1
        self._open[transport] = connection
        # Behind a proxy all come from one address: there the proxy counts.
        if self._counts[address] > self.limits.per_address and not self._is_proxy(host):
            self.refused += 1
            raise PlatformError(
                errors.TOO_MANY_REQUESTS,
                "the address has too many connections",
                limit=self.limits.per_address,
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        if len(self._addresses) > self.limits.connections and not self._make_room(connection):
            self.refused += 1
            raise PlatformError(
                errors.UNAVAILABLE, "there are too many connections", retry_after_seconds=FULL_RETRY_SECONDS
            )

    @property
    def is_overrun(self) -> bool:
        """Whether there are more than can even be told so."""
        return len(self._addresses) > self.limits.connections + REFUSED_AT_ONCE_MAX

    def upgrade(self, socket: Watched) -> None:
        """A connection goes on as a WebSocket."""
        self._open[socket.transport] = socket

    def leave(self, connection: Watched) -> None:
        """A connection is gone."""
        self._open.pop(connection.transport, None)
        address = self._addresses.pop(connection.transport, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    async def _look(self) -> None:
        """Cut off what takes too long."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._open.values()):
            connection.judge(now)

    def _make_room(self, for_whom: Watched) -> bool:
        waiting = [(c.waiting_since, c) for c in self._open.values() if c is not for_whom]
        idle = [(since, c) for since, c in waiting if since is not None]
        if not idle:
            return False
        min(idle, key=lambda one: one[0])[1].transport.abort()
        return True

    def _is_proxy(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def networks_of(proxies: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    """The networks of trusted proxies. Raises INVALID_SETTING: what names nobody would be trusted in vain."""
    if proxies == ("*",):
        return [IPv4Network("0.0.0.0/0"), IPv6Network("::/0")]
    try:
        return [ip_network(proxy) for proxy in proxies]
    except ValueError as error:
        raise PlatformError(
            errors.INVALID_SETTING,
            "a proxy of WEDSYNC_TRUSTED_PROXIES is neither an address nor a network",
            field="WEDSYNC_TRUSTED_PROXIES",
            hint="Write addresses (10.0.0.7), networks (10.0.0.0/24), or * alone.",
        ) from error
