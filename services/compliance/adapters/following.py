"""Follows the streams of all services and has what they hold appended to the audit log.

Promise: nothing is passed over. A stream that has lost events, goes on with another log, or has another event where
one was taken in, stands still: that is not ready and says what to do, while the others go on. What no relay has
published (a stray) is no event, and is counted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

from nats.errors import Error as NatsError
from prometheus_client import Counter, Gauge

from chassis.bus.nats_client import QuickClient
from chassis.life.health import Health
from chassis.life.tasks import GRACE_SECONDS, Supervised
from chassis.reading.stream_reader import StreamReader, every_stream
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from services.compliance.adapters.log import AuditLogTable

BATCH = 500
LOOK_SECONDS = 1.0
"""The pause between two looks at the streams. Nobody waits for an entry: those of a second share one transaction, one
signature and one write to the disk, which users' requests wait for too."""
STALL_SECONDS = 30.0


class AuditLogFollower:
    """Appends what the streams hold. `nats` gives the connected client once it is asked. `loop` is the part."""

    def __init__(
        self, log: AuditLogTable, *, nats: Callable[[], QuickClient], telemetry: Telemetry, health: Health
    ) -> None:
        self._log = log
        self._nats = nats
        self._troubles: dict[str, tuple[PlatformError, float]] = {}
        self._caught_up_at = time.monotonic()
        self.loop = Supervised("audit-log", self._run, telemetry=telemetry, stall_seconds=STALL_SECONDS)
        health.add("audit-log-streams", self._check)
        registry = telemetry.registry
        self._appended = Counter(
            "wedsync_audit_log_entries", "Events appended to the audit log", ("stream",), registry=registry
        )
        self._strays = Counter(
            "wedsync_audit_log_strays", "Messages that no relay has published", ("stream",), registry=registry
        )
        Gauge(
            "wedsync_audit_log_behind_seconds", "Time since all streams were last found taken in", registry=registry
        ).set_function(lambda: time.monotonic() - self._caught_up_at)

    async def catch_up(self) -> None:
        """Take in everything that the streams hold now. Raises what keeps one from it."""
        async with every_stream(self._nats()) as readers:
            while await self._round(readers):
                pass
        for trouble, _ in self._troubles.values():
            raise trouble

    async def _run(self) -> None:
        try:
            await self._follow()
        except (NatsError, OSError) as error:
            raise PlatformError(errors.UNAVAILABLE, "nats does not answer", part="nats") from error

    async def _follow(self) -> None:
        async with every_stream(self._nats()) as readers:
            while True:
                is_behind = await self._round(readers)
                self.loop.progressed()
                if is_behind:
                    continue
                if not self._troubles:
                    self._caught_up_at = time.monotonic()
                await asyncio.sleep(LOOK_SECONDS)

    async def _round(self, readers: Mapping[str, StreamReader]) -> bool:
        """One batch of each stream; whether any has more."""
        is_behind = False
        for owner, reader in readers.items():
            try:
                is_behind = await self._take_in(owner, reader) or is_behind
            except PlatformError as error:
                if error.context.get("part") == "postgres":
                    raise
                self._trouble(owner, error)
        return is_behind

    async def _take_in(self, owner: str, reader: StreamReader) -> bool:
        place, record = await self._log.standing(owner)
        found = await reader.after(place, BATCH, log=record)
        if found.events or found.strays:
            if not await self._log.append(owner, place, found.events, found.place):
                return True
            self._appended.labels(reader.stream).inc(len(found.events))
            self._strays.labels(reader.stream).inc(len(found.strays))
        self._trouble(owner, found.trouble)
        return found.has_more

    def _trouble(self, owner: str, error: PlatformError | None) -> None:
        if error is None:
            self._troubles.pop(owner, None)
            return
        _, since = self._troubles.get(owner, (error, time.monotonic()))
        self._troubles[owner] = (error, since)

    async def _check(self) -> PlatformError | str | None:
        """What keeps a stream from being taken in; one that does not answer only after a while."""
        for error, since in self._troubles.values():
            if error.code is not errors.UNAVAILABLE or time.monotonic() - since > GRACE_SECONDS:
                return error
        return None
