"""Making read models anew in a process of their own: requests on this one's event loop do not wait for it."""

import asyncio
import sys
from typing import Any

import msgspec

from contracts import errors
from contracts.errors import PlatformError
from gateway.settings import GatewaySettings


async def build_apart(settings: GatewaySettings) -> None:
    """Start `python -m gateway build` and wait until it has built what is due. Raises PlatformError.

    The settings go to it by its input, where nobody else reads them; it ends when that input is closed, so that it
    does not outlive this process.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "build", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None  # noqa: S101  # it was asked for
    try:
        process.stdin.write(msgspec.json.encode(settings, enc_hook=str) + b"\n")
        await process.stdin.drain()
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        raise PlatformError(
            errors.INTERNAL,
            f"the process that makes the read models anew ended with code {code}",
            hint="Its log, beside this one's, says why. It is tried again.",
        )


async def settings_from_input() -> tuple[GatewaySettings, asyncio.StreamReader]:
    """What `build_apart` has sent to this process, and its input."""
    reader = asyncio.StreamReader(limit=1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return _SETTINGS.decode(await reader.readline()), reader


def _plain(kind: type, value: Any) -> Any:
    return kind(value)


_SETTINGS = msgspec.json.Decoder(GatewaySettings, dec_hook=_plain)
