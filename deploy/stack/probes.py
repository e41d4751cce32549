"""Whether a part can do its work: questions that cost little and are asked again and again.

A probe answers None where all is well, else the trouble: why, and who can do something about it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import IntEnum

import msgspec

from contracts.errors import Retry, catalogue
from deploy.stack.ports import LOOPBACK

TIMEOUT_SECONDS = 10.0
"""How long an answer may take that nobody else bounds (`deploy.stack.part`)."""
_MAX_ANSWER = 256 * 1024


class Grade(IntEnum):
    """How bad a trouble is."""

    DEGRADED = 1
    """The part works, but somebody should look."""
    NOT_READY = 2
    """The part does not work; waiting may help."""
    NEEDS_OPERATOR = 3
    """The part does not work, and waiting does not help."""
    LOST = 4
    """What the part works on is gone: what it acknowledges is lost, so it is killed at once."""


class Trouble(msgspec.Struct, frozen=True):
    """What a probe has found. `restart_helps`: the part does not answer, or cannot recover within this process.

    `services`: whose records or streams it is about, as the report says.
    """

    reason: str
    grade: Grade = Grade.NOT_READY
    restart_helps: bool = False
    services: frozenset[str] = frozenset()


Probe = Callable[[], Awaitable[Trouble | None]]


class _Finding(msgspec.Struct):
    name: str
    status: str
    code: str | None = None
    reason: str | None = None
    hint: str | None = None
    service: str | None = None


class _Report(msgspec.Struct):
    status: str
    checks: tuple[_Finding, ...] = ()


_REPORT = msgspec.json.Decoder(_Report)


async def http_get(port: int, path: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[int, bytes]:
    """Status and body of one loopback GET. Raises OSError, TimeoutError or ValueError (no HTTP)."""
    return await http_ask(port, "GET", path, headers={"Host": f"{LOOPBACK}:{port}"}, timeout_seconds=timeout_seconds)


async def http_ask(
    port: int,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> tuple[int, bytes]:
    """Status and body of one loopback request. Raises OSError, TimeoutError or ValueError (no HTTP)."""
    lines = [f"{method} {target} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    async with asyncio.timeout(timeout_seconds):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            # HTTP/1.0: the server closes the connection after its answer, so the body ends with it.
            writer.write("\r\n".join([*lines, "\r\n"]).encode() + body)
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

    async def probe() -> Trouble | None:
        try:
            status, _ = await http_get(port, path)
        except (OSError, TimeoutError, ValueError) as error:
            return silent(error)
        return None if status == 200 else Trouble(f"answers {status}")

    return probe


def service_ready(port: int) -> Probe:
    """Ready when `/health/ready` of one of our own processes says so; its words where it does not."""

    async def probe() -> Trouble | None:
        try:
            status, body = await http_get(port, "/health/ready")
        except (OSError, TimeoutError, ValueError) as error:
            return silent(error)
        return trouble_of_report(status, body)

    return probe


def all_well(probes: Sequence[Probe]) -> Probe:
    """Ready when all of them are: services that share a process. The worst trouble, in the words of all."""

    async def probe() -> Trouble | None:
        found = [trouble for trouble in await asyncio.gather(*(each() for each in probes)) if trouble is not None]
        if len(found) < 2:
            return found[0] if found else None
        worst = max(found, key=lambda trouble: (trouble.grade, trouble.restart_helps))
        words = "; ".join(dict.fromkeys(trouble.reason for trouble in found))
        services = frozenset[str]().union(*(trouble.services for trouble in found))
        restart_helps = any(trouble.restart_helps for trouble in found)
        return Trouble(words, worst.grade, restart_helps=restart_helps, services=services)

    return probe if len(probes) > 1 else probes[0]


def trouble_of_report(status: int, body: bytes) -> Trouble | None:
    """What a health report (`chassis.life.health`) says, in words: every check that is not well, with its code."""
    try:
        report = _REPORT.decode(body)
    except msgspec.MsgspecError:
        return None if status == 200 else Trouble(f"answers {status}")
    wrong = [check for check in report.checks if check.status != "ready"]
    if status == 200 and not wrong:
        return None
    words = "; ".join(_words(check) for check in wrong)
    services = frozenset(check.service for check in wrong if check.service is not None)
    if status == 200:
        return Trouble(words, Grade.DEGRADED, services=services)
    needs_operator = any(check.status == "not-ready" and _needs_operator(check.code) for check in wrong)
    grade = Grade.NEEDS_OPERATOR if needs_operator else Grade.NOT_READY
    return Trouble(words or report.status, grade, services=services)


def _words(check: _Finding) -> str:
    """What a check has found, and the command that mends it where there is one, as it is to be entered."""
    found = f"{check.name}: {check.reason or check.status} [{check.code or '-'}]"
    return f"{found} ({check.hint})" if check.hint else found


def _needs_operator(code: str | None) -> bool:
    entry = catalogue().get(code or "")
    return entry is not None and entry.retry is Retry.AFTER_OPERATOR


def silent(error: Exception) -> Trouble:
    """A part that cannot be reached, or does not answer in time."""
    return Trouble(f"does not answer: {str(error) or type(error).__name__}", restart_helps=True)
