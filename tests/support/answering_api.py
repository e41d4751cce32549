"""A server that gives the API's answers, one after another."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cli.api import ApiClient, Document


@asynccontextmanager
async def api(
    *answers: tuple[int, dict[str, str], Document | str] | None,
) -> AsyncIterator[tuple[ApiClient, list[str]]]:
    """A client of a server that gives these answers, one after another (None: it hangs up); the requests' heads."""
    left, heads = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        length = next((line.split(":")[1] for line in head.lower().splitlines() if "content-length" in line), "0")
        await reader.readexactly(int(length))
        if (answer := left.pop(0)) is None:
            writer.close()
            return
        status, headers, document = answer
        body = (document if isinstance(document, str) else json.dumps(document)).encode()
        lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = ApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: "TOKEN", new_key=lambda: "KEY")
    async with server:
        yield client, heads
        await client.close()
