"""Work that no worker can take: whoever asked for it is told why, and after a bound it ends with that.

A worker that has no means for any work (`ClaimLoop`, `require_means`) claims none, and one that does not start says
nothing: of work that waits for them nobody else would know why. Promise: nothing is told while one worker looks for
work, or keeps a claim alive, however long the queue is; what is told is told once for each cause, however many
deciding processes look, and taken back when a worker looks again.
"""

import logging
import time
from collections.abc import Sequence
from typing import LiteralString

from chassis.claims.port import Claim, Teller, Unclaimed
from chassis.claims.work import HEARD_SECONDS, Work
from chassis.life.tasks import Supervised
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

LOOK_SECONDS = 10.0
TOLD_SECONDS = 60.0
"""So long no worker must have been able to before that is told: one that is started anew is back by then."""
AT_ONCE = 100

_log = logging.getLogger(__name__)

# A worker of an older build does not say that it looks: its heartbeats do.
# A sign of life from the future was given before the clock was put back, and says nothing of now.
_LACK: LiteralString = """
    WITH heard AS (SELECT code FROM {workers} WHERE abs(extract(epoch FROM now() - looked_at)) < %(heard)s
                   ORDER BY looked_at DESC)
    SELECT EXISTS (SELECT FROM heard WHERE code IS NULL)
            OR EXISTS (SELECT FROM {claims}
                       WHERE state = 'running' AND abs(extract(epoch FROM now() - heartbeat_at)) < %(heard)s),
        (SELECT code FROM heard LIMIT 1)
"""
_FORGET: LiteralString = "DELETE FROM {workers} WHERE looked_at < now() - interval '1 day'"
_UNCLAIMED: LiteralString = """
    SELECT {id}, organisation, correlation_id, traceparent, worker, fence, {subject}, told_code,
        extract(epoch FROM now() - told_at)
    FROM {claims}
    WHERE (state = 'waiting' OR (state = 'running' AND abs(extract(epoch FROM now() - heartbeat_at)) >= %(heard)s))
        AND NOT cancelled AND CASE WHEN %(code)s::text IS NULL THEN told_code IS NOT NULL
        ELSE told_code IS DISTINCT FROM %(code)s OR told_at < now() - make_interval(secs => %(bound)s) END
    ORDER BY asked_at, {id} LIMIT %(at_once)s
"""


class UnclaimedWork(Supervised):
    """A part of a deciding process (see `chassis.life.runtime`): looks at what waits, again and again."""

    def __init__(
        self,
        work: Work,
        pool: Pool,
        teller: Teller,
        *,
        bound_seconds: float,
        name: str = "unclaimed-work",
        look_seconds: float = LOOK_SECONDS,
        told_seconds: float = TOLD_SECONDS,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`bound_seconds`: so long after it was told, work ends."""
        super().__init__(name, self._look, telemetry=telemetry, every_seconds=look_seconds)
        self._work = work
        self._pool = pool
        self._teller = teller
        self._bound_seconds = bound_seconds
        self._told_seconds = told_seconds
        self._since: float | None = None

    async def _look(self) -> None:
        lack = await self._lack()
        if lack is None:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        if self._since is not None and time.monotonic() - self._since < self._told_seconds:
            return  # Only what this process has seen for so long: both may have been away.
        broken: tuple[PlatformError, str] | None = None
        for each in await self._unclaimed(lack):
            try:
                if lack is not None and each.seconds is not None and each.seconds > self._bound_seconds:
                    await self._teller.end(each, lack)
                else:
                    await self._teller.tell(each, lack)
            except PlatformError as error:
                if error.code is errors.UNAVAILABLE:
                    raise
                if error.code not in (errors.CLAIM_LOST, errors.CONCURRENT_CHANGE):
                    broken = broken or (error, each.claim.work_id)
                    continue
                _log.info("work was taken after all", extra={f"{self._work.noun}_id": each.claim.work_id})

        if broken is not None:
            # What cannot be told of one costs that one; who waits for another is told all the same.
            first, work_id = broken
            raise first.told_as(f"of the {self._work.noun} {work_id} nobody can be told: {first.message}")

    async def _lack(self) -> ErrorCode | None:
        """What keeps all workers from taking work; None where one can."""
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(self._work.sql(_FORGET))
                found = await connection.execute(self._work.sql(_LACK), {"heard": HEARD_SECONDS})
                ((is_able, code),) = await found.fetchall()
        if is_able:
            return None
        return errors.NO_WORKER if code is None else errors.catalogue().get(code, errors.NO_WORKER)

    async def _unclaimed(self, lack: ErrorCode | None) -> Sequence[Unclaimed]:
        parameters = {
            "code": lack.code if lack else None,
            "bound": self._bound_seconds,
            "at_once": AT_ONCE,
            "heard": HEARD_SECONDS,
        }
        with translated():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(self._work.sql(_UNCLAIMED), parameters)).fetchall()
        return [
            Unclaimed(
                claim=Claim(
                    work_id=work_id,
                    organisation=organisation,
                    correlation_id=correlation_id,
                    traceparent=traceparent,
                    worker=worker or "",
                    fence=fence,
                    subject=subject,
                ),
                code=code,
                seconds=None if seconds is None else float(seconds),
            )
            for work_id, organisation, correlation_id, traceparent, worker, fence, subject, code, seconds in rows
        ]
