"""Where a name leads, and that nobody is sent to where tenants must not reach: this machine and what is around it.

Promise: what is connected to is an address that was judged, not a name that may lead elsewhere a moment later.
"""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import httpcore

from contracts import errors
from contracts.errors import PlatformError
from contracts.notifications import is_public

LOOKUP_SECONDS = 4.0


async def addresses_of(host: str, port: int, *, private: bool) -> list[str]:
    """All addresses that a host has. Raises OSError for none, RECEIVER_NOT_PUBLIC where one is not public.

    One private address among public ones is enough to refuse: which of them a client takes is chance.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (TimeoutError, UnicodeError) as error:
        raise OSError("the name leads nowhere") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not private and not all(is_public(each) for each in addresses):
        raise PlatformError(errors.RECEIVER_NOT_PUBLIC, "the receiver is not on the public internet", field="url")
    return addresses


class JudgedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were judged."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # as the library calls it
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """To the first address that answers. Raises as `addresses_of`, and httpcore's ConnectError."""
        error: Exception = httpcore.ConnectError("no address")
        for address in await addresses_of(host, port, private=self._private):
            try:
                return await self._network.connect_tcp(
                    address, port, timeout=timeout, local_address=local_address, socket_options=socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        raise error

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002  # as the library calls it
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  # as above
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002  # as above
    ) -> httpcore.AsyncNetworkStream:
        """Nobody is told by a socket of this machine."""
        raise httpcore.ConnectError("not over a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """As the library asks."""
        await self._network.sleep(seconds)
