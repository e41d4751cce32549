"""Claims of a toy kind of work over a real Postgres: each piece ends once, whoever dies; nobody is forgotten."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from chassis.bus.connection import Connection
from chassis.claims import loop as claim_loop
from chassis.claims.port import Claim, Standing
from chassis.claims.table import ClaimQueue, ClaimTable
from chassis.ids import new_id
from chassis.life.health import Health
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from chassis.record.statements import StatementRefused
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.record_fixtures import open_store
from tests.support.claim_process import DRILLS, IDENTITY, Endless, loop_of, open_table
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess
from tests.support.sample_runs import CONTEXT, SampleRun

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def access(postgres: PostgresServer) -> Iterator[SchemaAccess]:
    """A fresh schema with claims."""
    made = postgres.fresh(statements=(*DRILLS.schema(), *DRILLS.later_schema()))
    yield made
    postgres.drop(made)


@pytest.fixture
async def store(access: SchemaAccess) -> AsyncIterator[EventStore]:
    async with open_store(access) as opened:
        yield opened


@pytest.fixture
async def table(access: SchemaAccess) -> AsyncIterator[ClaimTable]:
    async with open_table(access.dsn, access.schema) as opened:
        yield opened


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    made = nats_server.connection(IDENTITY, Telemetry(IDENTITY), Health(IDENTITY))
    await made.start()
    yield made
    await made.stop()


class Recording(Endless):
    """Records one event for the work, under an id of its own each time, and closes its claim with it.

    A second end of the same work would be seen. Work called `unreadable` is of a newer build.
    """

    def __init__(self, table: ClaimTable, store: EventStore) -> None:
        super().__init__(table)
        self._table = table
        self._store = store

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        if claim.work_id == "unreadable":
            raise PlatformError(errors.EVENT_UNREADABLE, "of a newer build")
        await self._table.opened(claim)
        await self.end(claim)

    async def end(self, claim: Claim) -> None:
        run = SampleRun(f"{claim.work_id}.{new_id()}").fail()
        await self._store.save(run, context=CONTEXT, also=[DRILLS.closed(claim)])


async def _ask(store: EventStore, *work: str, organisation: str = "org-a", subject: str | None = None) -> None:
    context = msgspec.structs.replace(CONTEXT, organisation=organisation)
    for each in work:
        await store.save(context=context, also=[DRILLS.asked(each, context=context, subject=subject, body=b"how")])


async def _ends(store: EventStore) -> Counter[str]:
    """How often each work has ended."""
    log = await store.events(limit=100_000)
    return Counter(envelope.subject.partition("/")[2].partition(".")[0] for _, envelope in log)


def _states(access: SchemaAccess) -> Counter[str]:
    with psycopg.connect(access.admin_dsn) as database:
        rows = database.execute(f"SELECT state FROM {access.schema}.{DRILLS.claims}").fetchall()
    return Counter(state for (state,) in rows)


async def test_work_of_two_workers_ends_once_each(
    access: SchemaAccess, store: EventStore, connection: Connection
) -> None:
    """Whoever takes it: nothing is done twice, and nothing stays behind."""
    for organisation in ("org-a", "org-b", "org-c"):
        await _ask(store, *(f"{organisation}-{number}" for number in range(10)), organisation=organisation)
    async with open_table(access.dsn, access.schema) as one, open_table(access.dsn, access.schema) as other:
        loops = [loop_of(each, Recording(each, store), connection, f"w{n}") for n, each in enumerate((one, other))]
        for loop in loops:
            await loop.start()
        try:
            await eventually(lambda: _states(access) == Counter(done=30))
        finally:
            for loop in loops:
                await loop.stop()
    ends = await _ends(store)
    assert len(ends) == 30
    assert set(ends.values()) == {1}


async def test_work_that_waited_for_anothers_opening_is_taken_as_soon_as_that_is_over(
    store: EventStore, table: ClaimTable, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the loop's next look: sixty short runs of one organisation would take a minute for their looks alone."""
    monkeypatch.setattr(claim_loop, "POLL_SECONDS", 3600.0)
    looked_in_vain, take = asyncio.Event(), table.take
    under_way: set[str] = set()

    async def taking(worker: str, *, aside: Collection[str] = ()) -> Claim | None:
        claim = await take(worker, aside=aside)
        if claim is None:
            looked_in_vain.set()
        return claim

    class Opening(Endless):
        async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
            await looked_in_vain.wait()
            looked_in_vain.clear()
            under_way.add(claim.work_id)
            await super().perform(claim, is_cancelled)

    monkeypatch.setattr(table, "take", taking)
    await _ask(store, *map(str, range(3)))
    loop = loop_of(table, Opening(table), connection, "w1", slots=4)
    await loop.start()
    try:
        await eventually(lambda: len(under_way) == 3)
    finally:
        await loop.stop()


async def test_work_of_a_killed_worker_goes_to_another_and_the_dead_ones_fence_ends_nothing(
    access: SchemaAccess, store: EventStore, table: ClaimTable, nats_server: NatsServer
) -> None:
    """It is counted as one silence; what the dead one would still record is refused whole."""
    await _ask(store, "drill-1")
    command = [sys.executable, "-m", "tests.support.claim_process", access.dsn, access.schema, nats_server.url]
    process = subprocess.Popen([*command, str(nats_server.seed_file(IDENTITY) or "")], cwd=ROOT)
    try:
        await eventually(lambda: _states(access) == Counter(running=1))
        assert await table.take("w2") is None, "it is alive"
    finally:
        process.kill()
        process.wait()
    claim = await eventually(lambda: table.take("w2"))
    assert claim is not None
    assert (claim.work_id, claim.fence, claim.silenced, claim.body) == ("drill-1", 2, 1, b"how")
    performer = Recording(table, store)
    dead = msgspec.structs.replace(claim, worker="mortal", fence=1)
    with pytest.raises(StatementRefused):
        await performer.end(dead)
    assert await table.beat([dead]) == frozenset()
    assert not await table.opened(dead)
    assert not await table.close(dead)
    assert await _ends(store) == Counter()
    await performer.end(claim)
    assert await _ends(store) == Counter({"drill-1": 1})


async def test_organisations_are_served_in_turn(store: EventStore, table: ClaimTable) -> None:
    """Much work of one does not go before another's little; while one of an organisation opens, the others go on."""
    await _ask(store, "a-1", "a-2", "a-3")
    await _ask(store, "b-1", organisation="org-b")
    order = []
    while (claim := await table.take("w1")) is not None:
        order.append(claim.work_id)
        await table.opened(claim)
    assert order == ["a-1", "b-1", "a-2", "a-3"]


async def test_subject_has_one_open_work_and_the_queue_tells(
    access: SchemaAccess, store: EventStore, table: ClaimTable
) -> None:
    """The second is refused with all that would have been recorded; work that has ended makes room."""
    await _ask(store, "drill-1", subject="plan")
    await _ask(store, "drill-2")
    with pytest.raises(StatementRefused):
        await _ask(store, "drill-3", subject="plan")
    pool = open_pool(access.dsn, access.schema, name="queue", max_size=1)
    await pool.open(wait=True)
    try:
        queue = ClaimQueue(DRILLS, pool)
        standing = await queue.standing(subject="plan", organisation="org-a")
        assert standing == Standing(open_work="drill-1", waiting_of_organisation=2, waiting_in_all=2)
        assert [metric.name for metric in await queue.read()][:2] == [
            "wedsync_queue_waiting_drills",
            "wedsync_queue_claimed_drills",
        ]
    finally:
        await pool.close()
    claim = await table.take("w1")
    assert claim is not None
    assert claim.subject == "plan"
    assert await table.close(claim)
    await _ask(store, "drill-3", subject="plan")


async def test_cancelled_work_is_left_by_who_performs_it(
    access: SchemaAccess, store: EventStore, table: ClaimTable, connection: Connection
) -> None:
    """He learns of it by his heartbeat, and nobody takes it again."""
    await _ask(store, "drill-1")
    loop = loop_of(table, Endless(table), connection, "w1")
    await loop.start()
    try:
        await eventually(lambda: _states(access) == Counter(running=1))
        await store.save(context=CONTEXT, also=[DRILLS.cancelled("drill-1")])
        await eventually(lambda: _states(access) == Counter(done=1))
        await eventually(lambda: not [task for task in asyncio.all_tasks() if task.get_name() == "drill drill-1"])
    finally:
        await loop.stop()
    assert await table.take("w2") is None


async def test_stop_gives_work_back_without_blame(
    access: SchemaAccess, store: EventStore, table: ClaimTable, connection: Connection
) -> None:
    """Another has it at once."""
    await _ask(store, "drill-1")
    loop = loop_of(table, Endless(table), connection, "w1")
    await loop.start()
    await eventually(lambda: _states(access) == Counter(running=1))
    await loop.stop()
    claim = await table.take("w2")
    assert claim is not None
    assert (claim.fence, claim.silenced) == (2, 0)


async def test_work_that_cannot_be_read_is_set_aside_and_told(
    access: SchemaAccess, store: EventStore, table: ClaimTable, connection: Connection
) -> None:
    """It keeps nobody waiting; another worker may take it at once."""
    await _ask(store, "unreadable", "drill-2")
    health = Health("w1")
    loop = loop_of(table, Recording(table, store), connection, "w1", health=health)
    await loop.start()
    try:
        await eventually(lambda: _states(access) == Counter(done=1, waiting=1))
        (finding,) = (await health.report()).checks
        assert (finding.name, finding.code) == ("drills-set-aside", "event-unreadable")
        assert "1 drills are set aside, such as unreadable" in (finding.reason or "")
    finally:
        await loop.stop()
    claim = await table.take("w2")
    assert claim is not None
    assert claim.work_id == "unreadable"
