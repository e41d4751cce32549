"""The one NATS connection of a process.

Promise: reconnects for ever, also where a server falls silent with its connection open, with an inbox prefix and an
nkey of its own; a publish or subscription that the server refuses is never lost in silence: it is counted, logged and
shown by the health report (`PUBLISH_REFUSED`), since to the caller it only looks like a timeout.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import nats.errors
import nkeys
from nats.js import JetStreamContext

from chassis.bus.trust import TrustingClient, context_of, distrust
from chassis.life.health import Health
from chassis.life.tasks import end
from chassis.settings import ServiceSettings
from chassis.telemetry.instruments import Telemetry
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import PlatformError
from contracts.subjects import JETSTREAM_API

_log = logging.getLogger(__name__)

_REFUSAL = re.compile(r"permissions violation for (publish|subscription) to \"?([^\"\s]*)", re.IGNORECASE)
_UNAUTHORISED = "authorization violation"
_RECONNECT_WAIT_SECONDS = 0.25
_PING_SECONDS = 3
_PINGS_MAX = 2
"""A server that falls silent with its connection open is left, and told by the readiness, within nine seconds."""
_FLUSH_SECONDS = 2
_SILENT_SECONDS = 30.0
"""For so long the same trouble of a connection is not said again."""
_REASONS_MAX = 50
_JETSTREAM_SECONDS = 5.0
_BROKEN = (nats.errors.Error, OSError, RuntimeError)
"""What a write to a lost connection raises; the last is uvloop's."""


class Connection:
    """A part (see `chassis.life.runtime`): connects on start, closes on stop, and is shared by all that speak to NATS.

    `url`: one or more NATS URLs, comma separated. `identity`: the name of the NATS identity; it decides
    the inbox prefix `_INBOX_<identity>`. `seed_file`: file with the identity's nkey seed, None where the
    server asks for none. `ca_file`: authorities that sign for servers of `tls://` (see `chassis.bus.trust`).
    `start_seconds`: how long the start waits for a server.
    """

    name = "nats"

    def __init__(
        self,
        *,
        url: str,
        identity: str,
        telemetry: Telemetry,
        health: Health,
        seed_file: str | Path | None = None,
        ca_file: Path | None = None,
        start_seconds: float = 15.0,
    ) -> None:
        self._servers = [server.strip() for server in url.split(",") if server.strip()]
        self._identity = identity
        self._metrics = telemetry.metrics
        self._health = health
        self._seed_file = None if seed_file is None else Path(seed_file)
        self._ca_file = ca_file
        self._start_seconds = start_seconds
        self._client = TrustingClient()
        self._js: JetStreamContext | None = None
        self._closed: asyncio.Future[BaseException] | None = None
        self._turned_away = asyncio.Event()
        self._why: PlatformError | None = None
        self._refusals: dict[str, tuple[float, PlatformError]] = {}
        self._denied: PlatformError | None = None
        self._troubles: dict[str, float] = {}
        self._stopping = False
        self._when_back: list[Callable[[], None]] = []

    @classmethod
    def of(cls, settings: ServiceSettings, identity: str, telemetry: Telemetry, health: Health) -> "Connection":
        """A process's connection, by its settings."""
        return cls(
            url=settings.nats_url,
            identity=identity,
            telemetry=telemetry,
            health=health,
            seed_file=settings.nats_seed_file,
            ca_file=settings.nats_ca_file,
        )

    @property
    def client(self) -> TrustingClient:
        """The raw client, once started; for core subscriptions such as the workers' wake-up."""
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """JetStream on this connection, once started; for the relay and the projector."""
        if self._js is None:
            raise PlatformError(errors.UNAVAILABLE, "the nats connection was not started")
        return self._js

    def when_back(self, call: Callable[[], None]) -> None:
        """Have something called each time that the connection is back: what the server was asked before is forgotten.

        It must not raise or wait.
        """
        self._when_back.append(call)

    def certificate_expires(self) -> float | None:
        """When the server's certificate ends, in seconds since 1970; None without TLS or connection."""
        return self._client.certificate_expires

    @property
    def inbox_prefix(self) -> str:
        """Where this identity may receive answers."""
        return f"_INBOX_{self._identity}"

    def require_settings(self) -> None:
        """Raise INVALID_SETTING where the settings can never be right, whatever the server is."""
        self._seed()
        context_of(self._servers, self._ca_file)

    async def start(self) -> None:
        """Connect. Raises UNAVAILABLE where no server answers, INVALID_SETTING where one does not believe the other."""
        seed, tls = self._seed(), context_of(self._servers, self._ca_file)
        self._closed = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(
            self._client.connect(
                servers=self._servers,
                name=f"wedsync-backup {self._identity}",
                inbox_prefix=self.inbox_prefix,
                nkeys_seed_str=seed,
                tls=tls,
                connect_timeout=2,
                reconnect_time_wait=_RECONNECT_WAIT_SECONDS,  # type: ignore[arg-type]  # it only ever sleeps for it
                max_reconnect_attempts=-1,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=_PINGS_MAX,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
            )
        )
        refused = asyncio.create_task(self._turned_away.wait())
        try:
            await asyncio.wait({connecting, refused}, timeout=self._start_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                if self._why is not None:
                    raise self._why
                raise PlatformError(errors.UNAVAILABLE, f"nats did not answer within {self._start_seconds} s")
            try:
                connecting.result()
            except Exception as error:
                raise PlatformError(errors.UNAVAILABLE, "nats cannot be reached") from error
        finally:
            await end(connecting, refused)
        self._js = self._client.jetstream(timeout=_JETSTREAM_SECONDS, prefix=JETSTREAM_API)
        self._metrics.connected.set(1)

    def _seed(self) -> str | None:
        if self._seed_file is None:
            return None
        try:
            seed = self._seed_file.read_text("ascii").strip()
            nkeys.from_seed(bytearray(seed, "ascii")).wipe()
        except (OSError, ValueError, nkeys.NkeysError) as error:
            raise PlatformError(
                errors.INVALID_SETTING,
                "the file of WEDSYNC_NATS_SEED_FILE cannot be read or holds no nkey seed",
                field="WEDSYNC_NATS_SEED_FILE",
                hint="Set WEDSYNC_NATS_SEED_FILE to a file with a line that begins with SU, which this user may read.",
            ) from error
        return seed

    async def stop(self) -> None:
        """Flush what was published, and close. While the server is away there is nothing to be flushed to."""
        self._stopping = True
        if self._closed is None:
            return  # What the settings say was refused before a connection was tried.
        # Not nats-py's drain, which waits for pull subscriptions whose messages nobody takes any more. Its close
        # lets the broken socket's error out.
        with contextlib.suppress(*_BROKEN):
            if self._client.is_connected:
                await self._client.flush(_FLUSH_SECONDS)
        with contextlib.suppress(*_BROKEN):
            await self._client.close()
        self._metrics.connected.set(0)

    async def check(self) -> PlatformError | str | None:
        """Why there is no connection, while there is none."""
        if self._client.is_connected:
            return None
        return self._why or PlatformError(
            errors.UNAVAILABLE,
            "nats does not answer",
            hint="Look whether the NATS server runs, answers and can be reached; this process goes on trying.",
            part="nats",
        )

    async def ended(self) -> BaseException:
        """Wait until the client has given up, and say why. It reconnects for ever, but a server may turn it away."""
        if self._closed is None:
            return PlatformError(errors.UNAVAILABLE, "the nats connection was not started")
        return await asyncio.shield(self._closed)

    @property
    def denied(self) -> PlatformError | None:
        """What the server has not let this identity do, latest, if there was anything."""
        return self._denied

    def refusal(self, subject: str, *, since: float) -> PlatformError | None:
        """Why the server refused a publish to such a subject since a moment (of `time.monotonic`), if it did.

        To whoever published it only looks like an answer that never comes.
        """
        at, error = self._refusals.get(_tree(subject), (0.0, None))
        return error if at >= since else None

    async def _on_error(self, error: Exception) -> None:
        text = str(error)
        if (refusal := _REFUSAL.search(text)) is not None:
            self._refused(refusal.group(1).lower(), refusal.group(2))
        elif _UNAUTHORISED in text.lower():
            self._turn_away(
                PlatformError(
                    errors.INVALID_SETTING,
                    "nats refused the identity's key",
                    field="WEDSYNC_NATS_SEED_FILE",
                    hint="Set WEDSYNC_NATS_SEED_FILE to the seed of this process's identity, which the server knows.",
                    identity=self._identity,
                )
            )
        elif (why := distrust(error)) is not None:
            self._turn_away(why)
        elif not self._stopping:
            self._warn(describe(error))

    def _warn(self, reason: str) -> None:
        """Say what is wrong with the connection: the same once in a while, not at every attempt."""
        now = time.monotonic()
        if now - self._troubles.get(reason, -_SILENT_SECONDS) < _SILENT_SECONDS:
            return
        if len(self._troubles) >= _REASONS_MAX:
            self._troubles.clear()
        self._troubles[reason] = now
        _log.warning("nats connection trouble", extra={"reason": reason})

    def _turn_away(self, why: PlatformError) -> None:
        """One of the two does not believe the other: that is told, since waiting does not help."""
        if self._why is None or self._why.message != why.message:
            _log.error("nats and this process do not come together", exc_info=why, extra={"hint": why.hint})
        self._why = why
        self._turned_away.set()

    def _refused(self, kind: str, subject: str) -> None:
        tree = _tree(subject)
        self._metrics.refused.labels(kind=kind).inc()
        error = PlatformError(
            errors.PUBLISH_REFUSED,
            f"nats refused {self._identity} a {kind}",
            kind=kind,
            subject=tree,
            identity=self._identity,
        )
        self._denied = error
        if kind == "publish":
            self._refusals[tree] = (time.monotonic(), error)
        _log.error("nats refused for want of permission", exc_info=error, extra={"kind": kind, "subject": tree})
        # Stays until the process is started anew: a refusal is a wrong deployment or an intrusion, not weather.
        self._health.degrade("nats-permissions", error)

    async def _on_disconnected(self) -> None:
        self._metrics.connected.set(0)
        if not self._stopping:
            _log.warning("nats connection lost")

    async def _on_reconnected(self) -> None:
        self._why = None
        self._metrics.connected.set(1)
        self._metrics.reconnects.inc()
        _log.info("nats connection back")
        for call in self._when_back:
            call()

    async def _on_closed(self) -> None:
        self._metrics.connected.set(0)
        if not self._stopping and self._closed is not None and not self._closed.done():
            self._closed.set_result(PlatformError(errors.UNAVAILABLE, "the nats server turned the connection away"))


def _tree(subject: str) -> str:
    # Owner and tree are enough to find the permission; the rest of a subject names an organisation.
    return ".".join(subject.split(".")[:5] if subject.startswith("$JS.") else subject.split(".")[:2])
