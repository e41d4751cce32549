"""The HTTP server as a part of the process: uvicorn on the running loop, on a socket that is bound here.

What a connection may cost before anybody is known is `gateway.wire.connections`' business.
"""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import uvicorn

from contracts import errors
from contracts.errors import PlatformError
from gateway.wire.connection_limits import Connections, Limits
from gateway.wire.connections import HttpConnection, SocketConnection

BACKLOG = 512
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 3
"""What requests under way have when the process is told to stop: all of its parts have six together."""
SOCKET_MESSAGE_BYTES_MAX = 64 * 1024
PING_SECONDS = 20.0
FILES_BESIDE_CONNECTIONS = 128
"""Open files that the process needs for itself: Postgres, NATS, logs, libraries."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own runtime decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class HttpServer:
    """A part (see `chassis.life.runtime`): serves an ASGI application. `connections` are those that are open."""

    name = "http"

    def __init__(
        self,
        app: Any,
        *,
        host: str,
        port: int,
        trusted_proxies: tuple[str, ...] = (),
        limits: Limits = Limits(),  # noqa: B008  # frozen
    ) -> None:
        self._host = host
        self._port = port
        self.connections = Connections(limits, trusted_proxies)
        # Its warnings are what strangers send: they would fill the log at will.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=cast("type[asyncio.Protocol]", partial(HttpConnection, self.connections)),
                ws=cast("type[asyncio.Protocol]", partial(SocketConnection, self.connections)),
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=bool(trusted_proxies),
                forwarded_allow_ips=list(trusted_proxies),
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
                ws_ping_interval=PING_SECONDS,
                ws_ping_timeout=PING_SECONDS,
                ws_per_message_deflate=False,
            )
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises INVALID_SETTING where the port cannot be had, or not as many files as connections."""
        _allow_files(self.connections.limits.connections + FILES_BESIDE_CONNECTIONS)
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named, since asyncio only then switches Nagle's algorithm off for accepted connections.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self._host, self._port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            field = "WEDSYNC_HTTP_HOST" if is_host else "WEDSYNC_HTTP_PORT"
            raise PlatformError(
                errors.INVALID_SETTING,
                f"{self._host}, port {self._port}, cannot be listened on: {field} names what this machine has not free",
                field=field,
                hint="Set WEDSYNC_HTTP_HOST to an address of this machine."
                if is_host
                else "Stop what uses the port, or set WEDSYNC_HTTP_PORT to another one.",
            ) from error
        self._port = listening.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve([listening]), name="http")
        await self.connections.loop.start()
        while not self._server.started and not self._task.done():  # noqa: ASYNC110  # uvicorn tells it by a flag
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Take no more, answer what is under way, close the sockets."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task})
        await self.connections.loop.stop()

    async def check(self) -> PlatformError | str | None:
        """UNAVAILABLE where it does not listen; what keeps it from cutting off what takes too long."""
        if (found := await self.connections.loop.check()) is not None:
            return found
        is_running = self._task is not None and not self._task.done()
        return None if is_running else PlatformError(errors.UNAVAILABLE, "the http server is not running")

    async def ended(self) -> BaseException:
        """Wait until it ends without having been stopped, and say why."""
        if self._task is None:
            return PlatformError(errors.INTERNAL, "the http server was not started")
        await asyncio.wait({self._task})
        failure = None if self._task.cancelled() else self._task.exception()
        return failure or PlatformError(errors.INTERNAL, "the http server ended by itself")


def _allow_files(count: int) -> None:
    """Let the process open so many files. Raises INVALID_SETTING where the system does not let it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise PlatformError(
            errors.INVALID_SETTING,
            f"the system lets this process open {hard} files, and WEDSYNC_CONNECTIONS_MAX would need {count}",
            field="WEDSYNC_CONNECTIONS_MAX",
            hint=f"Lower it to {max(1, hard - FILES_BESIDE_CONNECTIONS)}, or raise what `ulimit -n` allows.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
