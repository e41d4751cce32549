"""The process's NATS connection on the event loop of production, where a server is lost while it is greeted."""

import asyncio
import functools
import json
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import uvloop

from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from tests.support.eventually import eventually

_INFO = {"server_id": "X", "version": "2.11.0", "proto": 1, "headers": True, "max_payload": 1 << 20, "jetstream": True}


class _Server:
    """Greets as NATS does. `breaks`: so many of the next connections are reset right behind the greeting."""

    def __init__(self) -> None:
        self.breaks = 0
        self.greeted = 0
        self._lines: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"nats://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
                line.sendall(b"INFO " + json.dumps(_INFO).encode() + b" \r\n")
            except OSError:
                return
            self.greeted += 1
            if self.breaks:
                self.breaks -= 1
                _reset(line)
            else:
                self._lines.append(line)
                threading.Thread(target=_answer, args=(line,), daemon=True).start()

    def has_greeted(self, times: int) -> bool:
        """Whether it has greeted so many connections by now."""
        return self.greeted >= times

    def cut(self) -> None:
        """End the connections that there are."""
        while self._lines:
            with suppress(OSError):  # it has ended by itself
                self._lines.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()


def _reset(line: socket.socket) -> None:
    """Make the kernel send RST instead of FIN."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def _answer(line: socket.socket) -> None:
    with line, line.makefile("rb") as said:
        try:
            for each in said:
                if each.startswith(b"PING"):
                    line.sendall(b"PONG\r\n")
        except OSError:
            return


@contextmanager
def _serving() -> Iterator[_Server]:
    server = _Server()
    try:
        yield server
    finally:
        server.close()


def _connection(url: str) -> Connection:
    return Connection(url=url, identity="executor", telemetry=Telemetry("executor"), health=Health("executor"))


def _on_uvloop(scene: Callable[[_Server], Awaitable[None]]) -> None:
    async def play() -> None:
        with _serving() as server:
            await scene(server)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play())


def test_connection_that_is_cut_while_it_greets_is_tried_again() -> None:
    """Each cut meets another moment of the greeting; behind every one the connection is back."""

    async def scene(server: _Server) -> None:
        connection = _connection(server.url)
        await connection.start()
        try:
            for _ in range(8):
                wanted = server.greeted + 3
                server.breaks = 2
                server.cut()
                await eventually(functools.partial(server.has_greeted, wanted))
                await eventually(lambda: connection.client.is_connected)
        finally:
            await connection.stop()

    _on_uvloop(scene)


def test_start_survives_servers_that_are_lost_while_they_greet() -> None:
    """The first connection has its time, whatever a try ends with."""

    async def scene(server: _Server) -> None:
        for _ in range(5):
            server.breaks = 3
            connection = _connection(server.url)
            await connection.start()
            assert await connection.check() is None
            await connection.stop()

    _on_uvloop(scene)


@pytest.mark.parametrize("error", [RuntimeError("the handler is closed"), ValueError("a line without an end")])
async def test_reconnecting_outlives_what_the_client_does_not_foresee(error: Exception) -> None:
    """Also what is raised behind the greeting, when the subscriptions are told anew."""
    with _serving() as server:
        connection = _connection(server.url)
        await connection.start()
        client, once = connection.client, [error]
        back = client._reconnected_cb

        async def raise_once() -> None:
            if once:
                raise once.pop()
            await back()

        client._reconnected_cb = raise_once
        try:
            server.cut()
            await eventually(lambda: not once and client.is_connected)
        finally:
            await connection.stop()
