"""Recovery points that are there although their policy's `maximumDays` are over, read at a scrape.

Whoever has promised that nothing is kept longer has to hear of it, also where no cleanup is asked for, each one fails,
or something beats the policy (a hold, a lock, the last point of a configuration): that it is allowed to is not that
somebody knows.
"""

from typing import LiteralString

from prometheus_client.core import GaugeMetricFamily, Metric

from chassis.postgres.database import translated
from chassis.postgres.pool import Pool

_OVERDUE: LiteralString = """
    WITH bounded AS (
        SELECT organisation, retention_policy_id, make_interval(days => days) AS age FROM (
            SELECT organisation, retention_policy_id,
                (convert_from(body, 'UTF8')::json ->> 'maximumDays')::integer AS days
            FROM retention_policy_replicas
        ) policies WHERE days IS NOT NULL
    ),
    named AS (
        SELECT organisation, configuration_id, convert_from(body, 'UTF8')::json ->> 'retentionPolicyId' AS policy
        FROM configuration_replicas WHERE organisation IN (SELECT organisation FROM bounded)
    )
    SELECT count(*), extract(epoch FROM min(p.at + b.age))
    FROM bounded b JOIN named n ON n.organisation = b.organisation AND n.policy = b.retention_policy_id
    JOIN recovery_points p
        ON p.organisation = n.organisation AND p.configuration_id = n.configuration_id AND p.gone_at IS NULL
            AND p.at < now() - b.age
"""


class OverdueFigures:
    """How many of all organisations, and since when the first of them is (see `chassis.telemetry.figures`)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self) -> list[Metric]:
        """Since when: nothing where none is."""
        with translated():
            async with self._pool.connection() as connection:
                ((count, since),) = await (await connection.execute(_OVERDUE)).fetchall()
        words = "Recovery points that are older than the maximumDays of their policy, and are there."
        told: list[Metric] = [GaugeMetricFamily("wedsync_recovery_points_overdue", words, count)]
        if since is not None:
            words = "When the maximumDays of the first of these were over."
            told.append(
                GaugeMetricFamily("wedsync_recovery_points_overdue_since_timestamp_seconds", words, float(since))
            )
        return told
