"""Progress to NATS: a memory stream keeps the last value of each piece of work; nothing waits for it or fails by it."""

import logging
import time

import msgspec
from nats.errors import Error as NatsError

from chassis.bus.connection import Connection
from chassis.claims.port import Claim, ProgressReport
from chassis.clock import Clock
from contracts.configuration import Tier
from contracts.progress import Progress, TierProgress
from contracts.subjects import progress_subject

_log = logging.getLogger(__name__)


class NatsProgress:
    """`ProgressFeed` on the process's connection. Rates are over all of the work so far. `owner`: the service."""

    def __init__(self, connection: Connection, owner: str, clock: Clock) -> None:
        self._connection = connection
        self._owner = owner
        self._clock = clock
        self._began: dict[str, float] = {}

    async def tell(self, claim: Claim, phase: str, report: ProgressReport) -> None:
        """Announce where the work stands; what cannot be announced is dropped."""
        now = time.monotonic()
        elapsed = now - self._began.setdefault(claim.work_id, now)
        rate = report.bytes_done / elapsed if elapsed > 0 else 0.0
        left = None if report.bytes_total is None else max(0, report.bytes_total - report.bytes_done)
        progress = Progress(
            execution_id=claim.work_id,
            organisation=claim.organisation,
            time=self._clock.now(),
            phase=phase,
            files_done=report.files_done,
            files_total=report.files_total,
            bytes_done=report.bytes_done,
            bytes_total=report.bytes_total,
            bytes_per_second=rate,
            eta_seconds=left / rate if left is not None and rate > 0 else None,
            tiers=tuple(_tier(*tier) for tier in report.tiers),
            fence=claim.fence,
        )
        subject = progress_subject(self._owner, claim.organisation, claim.work_id)
        try:
            await self._connection.client.publish(subject, msgspec.json.encode(progress))
        except (NatsError, OSError) as error:
            _log.debug("progress was dropped", extra={"reason": type(error).__name__})

    def forget(self, work_id: str) -> None:
        """It has ended, or was left."""
        self._began.pop(work_id, None)


def _tier(tier: Tier, state: str, uploaded_bytes: int, queued_bytes: int) -> TierProgress:
    return TierProgress(tier=tier, state=state, uploaded_bytes=uploaded_bytes, queued_bytes=queued_bytes)
