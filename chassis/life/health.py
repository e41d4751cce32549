"""Whether a process is alive, and whether it can do its work: what the probes and the supervisor read.

Promise: `/health/live` answers as long as the event loop runs; `/health/ready` answers 200 only when
every check passes, and otherwise 503 and says which does not, with the error's code, its reason and what
to do about it; `/metrics` is the Prometheus exposition of the process, what the readiness says included. The
server listens on an internal port and takes no input but the path.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.asking import Questions
from chassis.life.tasks import Stalled
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError

_log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[PlatformError | str | None]]
READY = "ready"
DEGRADED = "degraded"
NOT_READY = "not-ready"
_WORSE = {READY: 0, DEGRADED: 1, NOT_READY: 2}
_SERVERS = ("postgres", "nats")
"""What loops wait for: parts as errors name them."""
_REQUEST_SECONDS = 5.0
_REQUEST_BYTES = 8 * 1024
_JSON = "application/json; charset=utf-8"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One check and what it found. `status` is `ready`, `degraded` (works, but somebody should look) or `not-ready`.

    `service`: whose record or stream it is about, where it is about one; `all` for several.
    """

    name: str
    status: str
    code: str | None = None
    reason: str | None = None
    hint: str | None = None
    service: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What `/health/ready` answers: the worst status of all checks, and each of them."""

    service: str
    status: str
    checks: tuple[Finding, ...]


class Health:
    """The checks of a process. A check returns None where all is well, else an error (or a plain reason)."""

    def __init__(self, service: str, *, check_seconds: float = 5.0) -> None:
        self.service = service
        self.check_seconds = check_seconds
        self._checks: dict[str, tuple[Check, str]] = {}
        self._degraded: dict[str, PlatformError] = {}
        self._ill: dict[str, str] = {}
        self._turned_well: list[Callable[[str], None]] = []
        self._questions = Questions()
        self._asked: frozenset[str] | None = None

    def ask_only(self, names: Iterable[str] | None) -> None:
        """Ask these checks alone (None: all): what others stand on is not open yet, and would be called ill for it."""
        self._asked = None if names is None else frozenset(names)

    def add(self, name: str, check: Check, *, worst: str = NOT_READY) -> None:
        """Take a check into the readiness report. A check that takes longer than `check_seconds` counts as failed.

        `worst`: DEGRADED for what somebody should look at while the process can do its work.
        """
        if name in self._checks:
            raise ValueError(f"there is a check named {name} already")
        self._checks[name] = (check, worst)

    def when_well(self, act: Callable[[str], None]) -> None:
        """Let this be called with the code of a check's last trouble, once a report finds the check well again."""
        self._turned_well.append(act)

    def degrade(self, name: str, error: PlatformError) -> None:
        """Note something that went wrong although the process goes on; `/health/ready` shows it until `restore`."""
        self._degraded[name] = error

    def restore(self, name: str) -> None:
        """Take back what `degrade` noted under this name."""
        self._degraded.pop(name, None)

    def is_degraded(self, name: str) -> bool:
        """Whether something is noted under this name."""
        return name in self._degraded

    async def report(self) -> Report:
        """Run all checks at the same time and say what they found."""
        asked = {name: each for name, each in self._checks.items() if self._asked is None or name in self._asked}
        found = await asyncio.gather(*(self._find(name, *each) for name, each in asked.items()))
        findings = [*_causes_first(found), *(_finding(name, DEGRADED, error) for name, error in self._degraded.items())]
        status = max((finding.status for finding in findings), key=_WORSE.__getitem__, default=READY)
        return Report(service=self.service, status=status, checks=tuple(findings))

    async def _find(self, name: str, check: Check, worst: str) -> tuple[Finding, PlatformError | None]:
        try:
            found = await self._questions.ask(name, check, self.check_seconds)
        except TimeoutError:
            found = f"the check did not answer within {self.check_seconds} s"
        except PlatformError as error:
            found = error
        except Exception as error:  # noqa: BLE001  # a check that fails in an unforeseen way has found something
            found = describe(error)
        if found is None:
            if (code := self._ill.pop(name, None)) is not None:
                for act in self._turned_well:
                    act(code)
            return Finding(name=name, status=READY), None
        if isinstance(found, str):
            found = PlatformError(errors.UNAVAILABLE, found, part=name)
        self._ill[name] = found.code.code
        return _finding(name, worst, found), found


def _finding(name: str, status: str, error: PlatformError) -> Finding:
    return Finding(
        name=name,
        status=status,
        code=error.told_code.code,
        reason=error.message,
        hint=error.hint,
        service=error.service,
    )


def _causes_first(found: Sequence[tuple[Finding, PlatformError | None]]) -> list[Finding]:
    """The findings, first the server that is away; a loop that stands beside it is told as what follows from that."""
    causes = [
        finding
        for finding, error in found
        if error is not None and error.code is errors.UNAVAILABLE and error.context.get("part") in _SERVERS
    ]
    if not causes:
        return [finding for finding, _ in found]
    first = causes[0]
    others = [
        msgspec.structs.replace(
            finding, code=first.code, reason=f"{finding.reason}, while {first.reason}", hint=first.hint
        )
        if isinstance(error, Stalled)
        else finding
        for finding, error in found
        if finding not in causes
    ]
    return [*causes, *others]


async def answer(health: Health, telemetry: Telemetry, path: str) -> tuple[int, str, bytes]:
    """Status, content type and body for a path; for a process that serves the probes on its own HTTP server."""
    match path.partition("?")[0]:
        case "/health/live":
            return 200, _JSON, msgspec.json.encode({"service": health.service, "status": "alive"})
        case "/health/ready":
            report = await health.report()
            return 503 if report.status == NOT_READY else 200, _JSON, msgspec.json.encode(report)
        case "/metrics":
            await telemetry.figures.refresh()
            return 200, CONTENT_TYPE_LATEST, generate_latest(telemetry.registry)
        case _:
            return 404, _JSON, msgspec.json.encode({"paths": ["/health/live", "/health/ready", "/metrics"]})


class HealthServer:
    """Serves `/health/live`, `/health/ready` and `/metrics`; a part of a process (see `chassis.life.runtime`)."""

    name = "health"

    def __init__(self, health: Health, telemetry: Telemetry, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._health = health
        self._telemetry = telemetry
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        telemetry.figures.add("readiness", self._readiness)

    @property
    def port(self) -> int:
        """The port that is listened on, once started (0 asks the system for a free one)."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises PlatformError INVALID_SETTING where the port cannot be had."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_REQUEST_BYTES)
        except OSError as error:
            raise PlatformError(
                errors.INVALID_SETTING,
                f"the port {self._port} of WEDSYNC_HEALTH_PORT cannot be listened on",
                field="WEDSYNC_HEALTH_PORT",
                hint="Stop what uses the port, or set WEDSYNC_HEALTH_PORT to another one; WEDSYNC_HEALTH_HOST is an "
                "address of this machine.",
            ) from error
        self._port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening, and export the spans that are left: this part is started first, and so stopped last."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        await asyncio.to_thread(self._telemetry.close)

    async def check(self) -> PlatformError | str | None:
        """Always well: who can ask has reached it."""
        return None

    async def _readiness(self) -> list[Metric]:
        """What the readiness says, for whoever is paged by figures alone. Names of checks may be ids: codes are not."""
        report = await self._health.report()
        ready = GaugeMetricFamily(
            "wedsync_ready", "1 while the process can do its work, degraded or not.", labels=("service",)
        )
        ready.add_metric((report.service,), 0 if report.status == NOT_READY else 1)
        findings = GaugeMetricFamily(
            "wedsync_findings",
            "What the readiness finds wrong, by its code; /health/ready has the reasons.",
            labels=("service", "status", "code"),
        )
        counts = Counter((each.status, each.code or "") for each in report.checks if each.status != READY)
        for (status, code), number in counts.items():
            findings.add_metric((report.service, status, code), number)
        return [ready, findings]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS + 2 * self._health.check_seconds):
                async with asyncio.timeout(_REQUEST_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._respond(head))
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            pass  # Whoever asked has gone, or sent no request.
        finally:
            writer.close()

    async def _respond(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        path, _, protocol = rest.partition(" ")
        if not protocol.startswith("HTTP/1."):
            status, kind, body = 400, _JSON, b"{}"
        elif method not in ("GET", "HEAD"):
            status, kind, body = 405, _JSON, b"{}"
        else:
            status, kind, body = await answer(self._health, self._telemetry, path)
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *(("Allow: GET, HEAD",) if status == 405 else ()),
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body)
