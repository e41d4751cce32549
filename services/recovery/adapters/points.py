"""Recovery points and where they lie, in the recovery service's own tables."""

from collections.abc import Collection

from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement
from contracts.cleanup_events import RecoveryPointsForgotten
from contracts.config_events import ConfigurationFact
from contracts.erasure_events import RecoveryPointsErased
from contracts.executor_events import BackupCompleted
from contracts.reading import written_as
from services.recovery.adapters.rounds import first_round
from services.recovery.kept import KeptPlace, KeptPoint

_FIND = """
    SELECT configuration_id, snapshot_id, EXISTS (
        SELECT FROM gone_points gone WHERE gone.recovery_point_id = kept.recovery_point_id
            AND gone.organisation = kept.organisation
    ) FROM recovery_points kept WHERE recovery_point_id = %s AND organisation = %s
"""
_PLACES = """
    SELECT tier, location FROM configuration_places WHERE configuration_id = %s AND organisation = %s
    ORDER BY version DESC, tier, location
"""
_OF_SNAPSHOTS = """
    SELECT snapshot_id, recovery_point_id FROM recovery_points WHERE organisation = %s AND snapshot_id = ANY(%s)
"""
_KEEP = """
    INSERT INTO recovery_points (recovery_point_id, organisation, configuration_id, snapshot_id)
    VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_GONE = """
    INSERT INTO gone_points (recovery_point_id, organisation) SELECT unnest(%s::text[]), %s ON CONFLICT DO NOTHING
"""
_KEEP_PLACE = """
    INSERT INTO configuration_places (configuration_id, tier, location, organisation, version)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (configuration_id, tier, location)
    DO UPDATE SET version = greatest(configuration_places.version, excluded.version)
"""


class PointTable:
    """`Points` in Postgres."""

    def __init__(self, pool: Pool, store: EventStore) -> None:
        self._pool = pool
        self._store = store

    async def find(self, recovery_point_id: str, organisation: str) -> KeptPoint | None:
        """A point of an organisation, with all places of its configuration."""
        with translated():
            async with self._pool.connection() as connection:
                found = await connection.execute(_FIND, (recovery_point_id, organisation))
                row = await found.fetchone()
                if row is None:
                    return None
                configuration_id, snapshot_id, is_gone = row
                places = await (await connection.execute(_PLACES, (configuration_id, organisation))).fetchall()
        return KeptPoint(
            recovery_point_id=recovery_point_id,
            organisation=organisation,
            configuration_id=configuration_id,
            snapshot_id=snapshot_id,
            places=tuple(KeptPlace(*place) for place in places),
            is_gone=is_gone,
        )

    async def of_snapshots(self, organisation: str, snapshots: Collection[str]) -> dict[str, str]:
        """The ids of points, by their snapshots."""
        with translated():
            async with self._pool.connection() as connection:
                found = await connection.execute(_OF_SNAPSHOTS, (organisation, list(snapshots)))
                return dict(await found.fetchall())

    async def remember(self, completed: BackupCompleted, handling: Handling) -> None:
        """Keep what a run has made with the inbox row of the fact that told of it."""
        values = (
            completed.execution_id,
            handling.context.organisation,
            completed.configuration_id,
            completed.snapshot_id,
        )
        kept = [Statement(_KEEP, values, name="keep-point"), first_round(handling.context.organisation)]
        also = kept if completed.is_recovery_point else []
        await self._store.save(context=handling.context, handled=handling.handled, also=also)

    async def forget(self, gone: RecoveryPointsForgotten | RecoveryPointsErased, handling: Handling) -> None:
        """Keep that these are gone with the inbox row of the fact that told of it."""
        ids = [each.recovery_point_id for each in gone.points]
        also = [Statement(_GONE, (ids, handling.context.organisation), name="points-gone")]
        await self._store.save(context=handling.context, handled=handling.handled, also=also)

    async def remember_places(self, fact: ConfigurationFact, handling: Handling) -> None:
        """Keep where a version puts its tiers with the inbox row of the fact."""
        places = fact.body.storage_destinations.by_tier()
        organisation = handling.context.organisation
        also = [
            Statement(
                _KEEP_PLACE,
                (fact.configuration_id, written_as(tier), each.location, organisation, fact.version),
                name="keep-place",
            )
            for tier, each in places.items()
        ]
        await self._store.save(context=handling.context, handled=handling.handled, also=also)
