"""What an operator is paged by, of all organisations' backups: from the read models, at each scrape.

Promise: the figures follow from the record, so that they survive a restart and are the same from every gateway. Ids
alone are labels, and of configurations only the `CONFIGURATIONS_SHOWN` whose next good backup is due first, or
whose next run is first: who is behind is among them, however many there are. While the read models are made anew
nothing is told.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from psycopg import IsolationLevel

from contracts import errors
from contracts.configuration import StorageDestinations, Tier
from contracts.errors import PlatformError
from contracts.executor_events import ENDED, UNDER_WAY
from contracts.reading import read_json
from gateway.projections.applied import Database
from gateway.runs.standing import CHANGED, FIRST_CHANGED, UNPROTECTED_SINCE, standing_of

CONFIGURATIONS_SHOWN = 100
_UNDER_WAY = [state.value for state in UNDER_WAY]

_DESTINATIONS = msgspec.json.Decoder(StorageDestinations)
_ENDED = "SELECT state, sum(runs)::bigint FROM execution_counts WHERE state <> ALL(%s) GROUP BY state"
_PROTECTED: LiteralString = f"""
    SELECT configuration_id, since, since + make_interval(secs => wait_seconds) AS due FROM (
        SELECT c.configuration_id, c.wait_seconds, {UNPROTECTED_SINCE} AS since
        FROM (
            SELECT c.configuration_id, c.created_at, c.wait_seconds, r.protected_at, r.made_version, r.standing,
                {CHANGED} AS changed
            FROM configurations c LEFT JOIN configuration_runs r USING (configuration_id) WHERE c.state <> 'retired'
        ) AS c
    ) AS reckoned
    ORDER BY due, configuration_id LIMIT %s
"""  # noqa: S608  # of this program's own words
_NEXT_RUNS = """
    SELECT configuration_id, next_run FROM configurations
    WHERE state = 'active' AND next_run IS NOT NULL ORDER BY 2, 1 LIMIT %s
"""
_MISSED = """
    SELECT configuration_id, missed_at FROM (
        SELECT c.configuration_id, r.protected_at, greatest(
            (c.missed ->> 'due_at')::timestamptz, (r.view #>> '{refused,due_at}')::timestamptz) AS missed_at
        FROM configurations c LEFT JOIN configuration_runs r USING (configuration_id) WHERE c.state = 'active'
    ) AS scheduled
    WHERE missed_at > coalesce(protected_at, '-infinity') ORDER BY 2, 1 LIMIT %s
"""
"""What was due and had no run; a good backup since then makes up for it."""
_TIERS: LiteralString = ", ".join(
    [
        f"min(CASE WHEN '{tier.value}' = ANY(changed) THEN"
        f" coalesce({FIRST_CHANGED.format(which=repr(tier.value))}, created_at)"
        f" ELSE coalesce(uploaded_{tier.name.lower()}, created_at) END)"
        for tier in Tier
    ]
    + [f"max(CASE WHEN '{tier.value}' <> ALL(changed) THEN uploaded_{tier.name.lower()} END)" for tier in Tier]
)
"""What a tier took in a place where it is no more is no upload to it."""
_GROUPS: LiteralString = f"""
    SELECT plan, standing, count(*), count(*) FILTER (WHERE last_state IS NOT NULL AND standing IS NULL), {_TIERS}
    FROM (
        SELECT c.configuration_id, c.plan, c.created_at, r.made_version, r.last_state, r.standing, r.uploaded_local,
            r.uploaded_cloud_primary, r.uploaded_cloud_secondary, r.uploaded_offsite, {CHANGED} AS changed
        FROM configurations c LEFT JOIN configuration_runs r USING (configuration_id) WHERE c.state <> 'retired'
    ) AS c
    GROUP BY plan, standing
"""  # noqa: S608  # of this program's own words


class _TierFigures:
    """One tier, over all configurations that name it."""

    def __init__(self) -> None:
        self.configurations = self.owed = self.gone = 0
        self.behind_since: datetime | None = None
        self.uploaded_at: datetime | None = None


class BackupFigures:
    """A source of figures (`chassis.telemetry.figures`). `reading`: connects to the read models, once they answer."""

    def __init__(self, reading: Callable[[], AbstractAsyncContextManager[Database]]) -> None:
        self._reading = reading

    async def read(self) -> list[Metric]:
        """Everything at one instant. Raises UNAVAILABLE while what it needs is made anew."""
        async with self._reading() as database:
            await database.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            try:
                async with database.transaction():
                    ended = dict(await (await database.execute(_ENDED, (_UNDER_WAY,))).fetchall())
                    protected = await (await database.execute(_PROTECTED, (CONFIGURATIONS_SHOWN,))).fetchall()
                    next_runs = await (await database.execute(_NEXT_RUNS, (CONFIGURATIONS_SHOWN,))).fetchall()
                    missed = await (await database.execute(_MISSED, (CONFIGURATIONS_SHOWN,))).fetchall()
                    groups = await (await database.execute(_GROUPS)).fetchall()
            finally:
                await database.set_isolation_level(None)
        if any(unknown for _, _, _, unknown, *_ in groups):
            raise PlatformError(errors.UNAVAILABLE, "the read models are being made anew")
        return [
            _ended(ended),
            *_configurations(sum(number for _, _, number, *_ in groups), protected),
            _moments(
                "wedsync_configuration_next_run_timestamp_seconds",
                f"When the next run falls due, of the {CONFIGURATIONS_SHOWN} configurations whose is first.",
                next_runs,
            ),
            _moments(
                "wedsync_configuration_missed_timestamp_seconds",
                "The latest instant of a schedule that had no run, of configurations without a good backup since then;"
                f" the {CONFIGURATIONS_SHOWN} that have gone longest.",
                missed,
            ),
            *_tiers(_of_tiers(groups)),
        ]


def _ended(counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(
        "wedsync_runs_ended", "Runs that have ended, by how they did, since the record began.", labels=("outcome",)
    )
    for outcome in {**dict.fromkeys((*ENDED, "degraded"), 0), **counts}:
        family.add_metric((outcome,), counts.get(outcome, 0))
    return family


def _configurations(number: int, protected: list[tuple[str, datetime, datetime]]) -> list[Metric]:
    return [
        GaugeMetricFamily("wedsync_configurations", "Configurations of all organisations.", number),
        _moments(
            "wedsync_configuration_protected_timestamp_seconds",
            "The last good backup (the first change since that makes it void; the creation, where there is none) of the"
            f" {CONFIGURATIONS_SHOWN} configurations whose next one is due first.",
            [(configuration_id, since) for configuration_id, since, _ in protected],
        ),
        _moments(
            "wedsync_configuration_backup_due_timestamp_seconds",
            "When the next good backup has to be there: the longest time between two runs of the configuration's"
            " schedule (a day, where it has none) after the last one. Of the same configurations.",
            [(configuration_id, due) for configuration_id, _, due in protected],
        ),
    ]


def _moments(name: str, meaning: str, found: list[tuple[str, datetime]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=("configuration",))
    for configuration_id, at in found:
        family.add_metric((configuration_id,), at.timestamp())
    return family


def _of_tiers(groups: list[tuple[Any, ...]]) -> dict[Tier, _TierFigures]:
    found = {tier: _TierFigures() for tier in Tier}
    for plan, standing, number, _, *times in groups:
        judged = standing_of(standing)
        destinations = read_json(plan.partition(" ")[2], _DESTINATIONS).by_tier()
        for index, (tier, figures) in enumerate(found.items()):
            if tier not in destinations:
                continue
            figures.configurations += number
            oldest, latest = times[index], times[index + len(found)]
            if latest is not None:
                figures.uploaded_at = max(figures.uploaded_at or latest, latest)
            if tier in judged.behind:
                figures.owed += number
                figures.behind_since = min(figures.behind_since or oldest, oldest)
            if tier in judged.gone:
                figures.gone += number
    return found


def _tiers(found: dict[Tier, _TierFigures]) -> list[Metric]:
    def family(name: str, meaning: str, of: Callable[[_TierFigures], float | None]) -> GaugeMetricFamily:
        made = GaugeMetricFamily(f"wedsync_tier_{name}", meaning, labels=("tier",))
        for tier, figures in found.items():
            value = of(figures) if figures.configurations else None
            if value is not None:
                made.add_metric((tier.value,), value)
        return made

    return [
        family("configurations", "Configurations that keep a copy on the tier.", lambda tier: tier.configurations),
        family("owed_configurations", "Those of them whose last upload to it failed.", lambda tier: tier.owed),
        family(
            "gone_configurations",
            "Those of them of which nobody can say at present that the tier has what it took.",
            lambda tier: tier.gone,
        ),
        family(
            "behind_since_timestamp_seconds",
            "The last upload (or creation) of the owed configuration that had it longest ago.",
            lambda tier: None if tier.behind_since is None else tier.behind_since.timestamp(),
        ),
        family(
            "uploaded_timestamp_seconds",
            "The latest upload to the tier.",
            lambda tier: None if tier.uploaded_at is None else tier.uploaded_at.timestamp(),
        ),
    ]
