"""Copies of configurations in the executor's own table, and how reports are sealed."""

from functools import partial

import msgspec
from blake3 import blake3

from chassis.handling import Handling
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import ConfigurationState
from contracts.errors import PlatformError
from contracts.reading import read_plain, written_as
from contracts.sealed import Sealed
from services.executor.adapters.erasing.record import looked_at_soon
from services.executor.kept import KeptConfiguration, Replica
from services.executor.ports import SealedReport

REPORT_FIELD = "run.report"
_SEALED = msgspec.json.Decoder(Sealed)

_KEEP_REPLICA = """
    INSERT INTO configuration_replicas (configuration_id, organisation, version, body, state, retired)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (configuration_id)
    DO UPDATE SET version = excluded.version, body = excluded.body, state = excluded.state, retired = excluded.retired
    WHERE configuration_replicas.version < excluded.version
"""
# An older build beside this one writes `retired` alone, and what is retired once is never anything else.
_FIND_REPLICA = """
    SELECT organisation, version, body, CASE WHEN retired THEN 'retired' ELSE state END, source_bytes
    FROM configuration_replicas LEFT JOIN last_runs USING (configuration_id) WHERE configuration_id = %s
"""


class ReplicaTable:
    """`Configurations` in Postgres."""

    def __init__(self, pool: Pool, store: EventStore) -> None:
        self._pool = pool
        self._store = store

    async def find(self, configuration_id: str) -> Replica | None:
        """The newest version seen here, or None."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_FIND_REPLICA, (configuration_id,))).fetchone()
        if row is None:
            return None
        organisation, version, body, state, source_bytes = row
        return KeptConfiguration(
            configuration_id=configuration_id,
            organisation=organisation,
            version=version,
            body=bytes(body),
            state=read_plain(state, ConfigurationState),
            last_source_bytes=source_bytes,
        ).read()

    async def remember(self, replica: Replica, handling: Handling) -> None:
        """Keep a version with the inbox row of the fact that told of it; an older one changes nothing."""
        parameters = (
            replica.configuration_id,
            replica.organisation,
            replica.version,
            msgspec.json.encode(replica.body),
            written_as(replica.state),
            replica.state is ConfigurationState.RETIRED,
        )
        await self._store.save(
            context=handling.context,
            handled=handling.handled,
            also=[
                Statement(_KEEP_REPLICA, parameters, name="keep-replica"),
                *([looked_at_soon(replica.organisation)] if replica.state is ConfigurationState.RETIRED else ()),
            ],
        )


SEAL_SECONDS = 30.0
"""How long the disk of the keys may take."""


class SealedReports:
    """`Reports`, sealed under the organisation's key or the data subject's, since they name files."""

    def __init__(self, sealer: Sealer, *, seal_seconds: float = SEAL_SECONDS) -> None:
        self._sealer = sealer
        self._seal_seconds = seal_seconds

    async def seal(self, organisation: str, report: bytes, *, subject: str | None = None) -> SealedReport:
        """Seal a report. See `Reports.seal`."""
        seal = partial(self._sealer.seal, organisation, REPORT_FIELD, report.decode(), subject=subject)
        # A silent disk is not UNAVAILABLE, which is tried again: the run ends without a report, and holds up no other's
        # heartbeat.
        sealed = msgspec.json.encode(await self._sealer.ask(seal, seconds=self._seal_seconds))
        return SealedReport(blake3(report).hexdigest(), sealed)

    async def open(self, organisation: str, digest: str, body: bytes) -> str:
        """A report as it was sealed: JSON. Raises SEALING_KEY_MISSING where it was erased, KEYS_UNUSABLE."""
        sealed = _SEALED.decode(body)
        opened = partial(self._sealer.open, organisation, REPORT_FIELD, sealed)
        report = await self._sealer.ask(opened, seconds=self._seal_seconds)
        if blake3(report.encode()).hexdigest() != digest:
            raise PlatformError(errors.INTERNAL, "the report is not the one whose digest the run names")
        return report
