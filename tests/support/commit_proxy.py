"""A proxy before Postgres that loses one commit, on its way there or its answer on the way back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto

from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Lose(Enum):
    """What is lost, with the connection where nothing else is said."""

    REQUEST = auto()
    ANSWER = auto()
    SILENCE = auto()
    """The commit arrives, its connection stays, and nothing ever comes back."""


class CommitProxy:
    """Passes everything on, but for the next commits that `lose` names; `then_away`: and nothing more after those."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._server: asyncio.Server | None = None
        self.lose: list[Lose] = []
        self.lost = 0
        self.then_away = False
        self.is_away = False
        self.is_silent = False
        self._clients: set[asyncio.StreamWriter] = set()

    def go_away(self) -> None:
        """Cut all connections, and let nobody in."""
        self.is_away = True
        for client in self._clients:
            client.close()

    def come_back(self) -> None:
        """Let everybody in again."""
        self.is_away = self.then_away = False

    def dsn(self, dsn: str) -> str:
        """The same access, through the proxy."""
        assert self._server is not None
        parts = {**conninfo_to_dict(dsn), "port": self._server.sockets[0].getsockname()[1]}
        return make_conninfo(**parts)

    async def listen(self) -> None:
        """Take connections on a free loopback port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_away:
            writer.close()
            return
        self._clients.add(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        begun = False
        answers = asyncio.create_task(_pump(up_reader, writer))
        try:
            while data := await reader.read(65536):
                if self.is_silent:
                    continue
                begun = (begun or b"BEGIN" in data) and b"COMMIT" not in data and b"ROLLBACK" not in data
                # An append of events alone is one statement, which commits itself.
                if self.lose and (b"COMMIT" in data or (b"INSERT INTO stored_events" in data and not begun)):
                    what = self.lose.pop(0)
                    await self._break(what, data, up_reader, up_writer, answers)
                    if what is Lose.SILENCE:
                        await reader.read()
                    break
                up_writer.write(data)
                await up_writer.drain()
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            self._clients.discard(writer)
            for end in (writer, up_writer):
                end.close()

    async def _break(
        self,
        what: Lose,
        data: bytes,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        answers: "asyncio.Task[None]",
    ) -> None:
        self.lost += 1
        if what is not Lose.REQUEST:
            answers.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answers
            up_writer.write(data)
            await up_writer.drain()
            await up_reader.read(1)
        if self.then_away:
            self.go_away()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def commit_proxy(port: int) -> AsyncIterator[CommitProxy]:
    """A listening proxy before the server on a port."""
    proxy = CommitProxy(port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()
