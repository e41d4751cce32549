"""How recoveries have ended: figures of the read models, for alerts and the dashboard."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from contracts.reading import written_as
from contracts.recovery_events import RECOVERY_ENDED, RecoveryState
from gateway.projections.applied import Database

DEGRADED = "degraded"
_ENDED = """
    SELECT CASE WHEN state = %s AND (view ->> 'degraded')::boolean THEN %s ELSE state END AS outcome, count(*)
    FROM recovery_operations WHERE state = ANY(%s) GROUP BY outcome
"""


class RecoveryFigures:
    """A source of figures (`chassis.telemetry.figures`). `reading`: connects to the read models, once they answer."""

    def __init__(self, reading: Callable[[], AbstractAsyncContextManager[Database]]) -> None:
        self._reading = reading

    async def read(self) -> list[Metric]:
        """How many have ended, by how they did. One that was never taken on is none."""
        ended = [written_as(state) for state in RECOVERY_ENDED]
        asked = (written_as(RecoveryState.COMPLETED), DEGRADED, ended)
        async with self._reading() as database:
            found = dict(await (await database.execute(_ENDED, asked)).fetchall())
        family = CounterMetricFamily(
            "wedsync_recoveries_ended",
            "Recoveries that have ended, by how they did, since the record began.",
            labels=("outcome",),
        )
        for outcome in (*ended, DEGRADED):
            family.add_metric((outcome,), found.get(outcome, 0))
        return [family]
