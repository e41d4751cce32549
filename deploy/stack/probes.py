"""Whether a part can do its work: questions that cost little and are asked again and again.

A probe answers None where the part is ready, `Degraded` where it works but somebody should look, and
otherwise says in a few words why it is not.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from deploy.stack.ports import LOOPBACK

Probe = Callable[[], Awaitable[str | None]]

TIMEOUT_SECONDS = 6.0
_MAX_ANSWER = 256 * 1024


class Degraded(str):
    """A reason that does not keep the part from its work."""

    __slots__ = ()


class _Finding(msgspec.Struct):
    name: str
    status: str
    reason: str | None = None


class _Report(msgspec.Struct):
    status: str
    checks: tuple[_Finding, ...] = ()


async def http_get(port: int, path: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[int, bytes]:
    """Status and body of one loopback request. Raises OSError, TimeoutError or ValueError (no HTTP)."""
    async with asyncio.timeout(timeout_seconds):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            # HTTP/1.0: the server closes the connection after its answer, so the body ends with it.
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}:{port}\r\n\r\n".encode())
            await writer.drain()
            answer = await reader.read(_MAX_ANSWER)
            while chunk := await reader.read(_MAX_ANSWER):
                answer = (answer + chunk)[:_MAX_ANSWER]
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("the answer is no HTTP")
    return int(words[1]), body


def http_ready(port: int, path: str) -> Probe:
    """Ready when a GET answers 200."""

    async def probe() -> str | None:
        try:
            status, _ = await http_get(port, path)
        except (OSError, TimeoutError, ValueError) as error:
            return f"does not answer: {error or type(error).__name__}"
        return None if status == 200 else f"answers {status}"

    return probe


def service_ready(port: int) -> Probe:
    """Ready when `/health/ready` of one of our own processes says so; its words where it does not."""

    async def probe() -> str | None:
        try:
            status, body = await http_get(port, "/health/ready")
        except (OSError, TimeoutError, ValueError) as error:
            return f"does not answer: {error or type(error).__name__}"
        return _in_words(status, body)

    return probe


def _in_words(status: int, body: bytes) -> str | None:
    try:
        report = msgspec.json.decode(body, type=_Report)
    except msgspec.MsgspecError:
        return None if status == 200 else f"answers {status}"
    wrong = "; ".join(
        f"{check.name}: {check.reason or check.status}" for check in report.checks if check.status != "ready"
    )
    if status != 200:
        return wrong or report.status
    return Degraded(wrong) if wrong else None


def nats_ready(port: int) -> Probe:
    """Ready when the server greets with JetStream switched on."""

    async def probe() -> str | None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                reader, writer = await asyncio.open_connection(LOOPBACK, port)
                try:
                    greeting = await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            return f"does not answer: {error or type(error).__name__}"
        return None if greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting else "JetStream is not up"

    return probe
