"""A desk of the disaster recovery service, over a schema of its own."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chassis.locations import Locations
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from chassis.sealing import Sealer, prepare_keys_folder
from services.dr.adapters.schema import STATEMENTS
from services.dr.bootstrap import SERVICE
from tests.support.disasters import STUDIO, Chosen, Desk, Killing
from tests.support.postgres_server import PostgresServer


@pytest.fixture
async def desk(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Desk]:
    access = postgres.fresh(statements=STATEMENTS, prefix="dr")
    file = tmp_path / "locations.json"
    target = {"kind": "directory", "roles": ["target"], "organisations": [STUDIO]}
    places = [{**target, "name": name, "url": f"file://{tmp_path}/{name}"} for name in ("restored", "rehearsals")]
    file.write_text(json.dumps({"locations": places}))
    (tmp_path / "restored").mkdir()
    (tmp_path / "rehearsals").mkdir()
    prepare_keys_folder(tmp_path / "keys")
    sealer = Sealer(tmp_path / "keys")
    sealer.make_keys(STUDIO)
    store = EventStore(dsn=access.dsn, schema=access.schema, service=SERVICE)
    pool = open_pool(access.dsn, access.schema, name="dr", max_size=2)
    await store.start()
    await pool.open()
    try:
        yield Desk(Killing(store), pool, access, Locations(file), sealer, tmp_path / "rehearsals", Chosen())
    finally:
        await pool.close()
        await store.stop()
        postgres.drop(access)
