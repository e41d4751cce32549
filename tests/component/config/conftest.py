"""What decides about configurations and retention policies, over real Postgres."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.life.health import Health
from chassis.locations import Locations
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from chassis.sealing import prepare_keys_folder
from chassis.timers.table import TimerTable
from services.config.adapters.bulk import GatheredItems
from services.config.adapters.notices import RecordedChannels, RecordedNotices
from services.config.adapters.receivers import OpenedReceivers
from services.config.adapters.schema import STATEMENTS
from services.config.adapters.weddings import SealedWeddings
from tests.component.config.test_changes import Desk
from tests.component.config.test_config_service import LOCATIONS
from tests.support.configurations import body
from tests.support.postgres_server import PostgresServer
from tests.support.sealing import MakingSealer


@pytest.fixture
async def desk(tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[Desk]:
    """With a configuration `smith`."""
    (tmp_path / "locations.json").write_text(json.dumps({"locations": LOCATIONS}))
    access = postgres.fresh(statements=STATEMENTS)
    store = EventStore(dsn=access.dsn, schema=access.schema, service="config")
    await store.start()
    prepare_keys_folder(tmp_path / "keys")
    pool = open_pool(access.dsn, access.schema, name="timers", max_size=2)
    await pool.open(wait=True)
    sealer = MakingSealer(tmp_path / "keys")
    weddings = SealedWeddings(sealer, Health("config"))
    desk = Desk(
        store,
        Locations(tmp_path / "locations.json"),
        TimerTable(pool),
        weddings,
        GatheredItems(store, pool),
        RecordedChannels(store, pool),
        RecordedNotices(store, pool),
        OpenedReceivers(sealer, private=True),
    )
    await desk.create(body("smith"))
    yield desk
    await pool.close()
    await store.stop()
    postgres.drop(access)
